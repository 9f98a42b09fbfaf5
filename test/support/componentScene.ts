/** A server that takes components, with a database and a user; the daemon is the test's own affair. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'node:test';
import { type PrivateProsody, startProsody } from '../../src/demo/prosody.ts';
import { type PrivateEjabberd, startEjabberd } from '../peers/ejabberd.ts';
import { startFaultProxy } from '../peers/faultProxy.ts';
import { connectRaw, type RawClient } from '../peers/rawClient.ts';
import { type TestDatabase, testDatabase } from './database.ts';
import { EJABBERD, insertInto, PROSODY } from './scene.ts';

type Server = PrivateProsody | PrivateEjabberd;
type Row = { state: string; state_info: string; state_changed_at: Date; next_try_at: Date | null };

export const SECRETS = { 'proxy.localhost': 'sécret <1>', 'other.localhost': 'secret 2' };
export const DOMAIN = 'proxy.localhost';
export const OTHER = 'other.localhost';
const ACCOUNTS = { alice: 'secret' };

export type Start = (dir: string) => Promise<Server>;

export const startProsodyIn: Start = (dir) =>
  startProsody({ dir, accounts: ACCOUNTS, componentSecrets: SECRETS });
const startEjabberdIn: Start = (dir) =>
  startEjabberd({ dir, accounts: ACCOUNTS, componentSecrets: SECRETS });

/** Holds the dialogues with each real server in turn. */
export const describeEachServer = (what: string, hold: (start: Start) => void): void => {
  const servers = [
    { ...PROSODY, start: startProsodyIn },
    { ...EJABBERD, start: startEjabberdIn },
  ];
  for (const { name, skip, start } of servers) {
    describe(`${what}, ${name}`, { skip }, () => hold(start));
  }
};

type Scene = {
  server: Server;
  db: TestDatabase;
  alice: RawClient;
  /** Inserts a component with its right secret, with `columns` besides. */
  insert(domain: keyof typeof SECRETS, columns?: Record<string, unknown>): Promise<number>;
  untilState(id: number, state: string): Promise<Row>;
  /** What alice gets for a ping to the domain: `pong`, a condition, or `silence`. */
  ping(domain: string): Promise<string>;
};

export const startProxy = async ({ host, componentPort }: Server) => {
  const proxy = await startFaultProxy({ target: { host, port: componentPort ?? 0 } });
  return { ...proxy, [Symbol.asyncDispose]: () => proxy.stop() };
};

/** Runs `work` with a server, a database and alice; the daemon is its own affair. */
export const withComponentScene = async (
  start: Start,
  work: (scene: Scene) => Promise<void>,
): Promise<void> => {
  const dir = await mkdtemp(join(tmpdir(), 'components-'));
  const server = await start(dir);
  await using db = await testDatabase();
  const { host, port } = server;
  const login = { host, port, jid: 'alice@localhost', password: ACCOUNTS.alice };
  const alice = await connectRaw(login);
  let pings = 0;
  try {
    await work({
      server,
      db,
      alice,
      insert: (domain, columns = {}) =>
        insertInto(db, 'xmpp_components', {
          ...{ domain, gateway: 'bytestreams', secret: SECRETS[domain] },
          srv_port: server.componentPort,
          ...columns,
        }),
      untilState: (id, state) =>
        db.until<Row>('select * from xmpp_components where id = $1 and state = $2', [id, state]),
      async ping(domain) {
        pings += 1;
        const id = `ping-${pings}`;
        alice.send(`<iq type='get' id='${id}' to='${domain}'><ping xmlns='urn:xmpp:ping'/></iq>`);
        // What reaches a component as it goes is lost (XEP-0114 has no acknowledgements).
        const answer = alice
          .next(({ element }) => element.attrs.id === id, 1_000)
          .catch(() => null);
        const element = (await answer)?.element;
        if (!element) return 'silence';
        if (element.attrs.type === 'result') return 'pong';
        return element.find('error')?.children[0]?.name ?? 'no condition';
      },
    });
  } finally {
    alice.destroy();
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
};
