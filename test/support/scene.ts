/** A dialogue between the daemon and a real server, with raw clients at the far end. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'node:test';
import { findFreePort } from '../../src/demo/freePort.ts';
import { findProsody, startProsody } from '../../src/demo/prosody.ts';
import { findEjabberd, startEjabberd } from '../peers/ejabberd.ts';
import { connectRaw, type RawClient } from '../peers/rawClient.ts';
import {
  formatProsodyServices,
  PROSODY_MODULES,
  roomsDomainOf,
  uploadDomainOf,
} from '../peers/services.ts';
import { connectSlixmpp, findSlixmpp, type SlixmppClient } from '../peers/slixmpp.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import { startDaemon, type TestDaemon } from './daemon.ts';
import { type TestDatabase, testDatabase } from './database.ts';

export type ServerOptions = {
  domain?: string;
  tls?: { cert: string; key: string };
  /** For Prosody alone. */
  settings?: string;
};

export type TestServer = {
  host: string;
  port: number;
  domain: string;
  /** Of its rooms (XEP-0045), which are archived. */
  roomsDomain: string;
  /** Of the service that takes files (XEP-0363). */
  uploadDomain: string;
  addAccount(name: string, password: string): Promise<void>;
  stop(): Promise<void>;
};

type PeerOptions = { resource?: string; presence?: boolean };

export type Scene = {
  db: TestDatabase;
  server: TestServer;
  daemon: TestDaemon;
  /** Registers a name and inserts its account, with `columns` besides; returns once it is online. */
  addAccount(name: string, columns?: Record<string, unknown>): Promise<number>;
  /** Logs a raw client in, registering its name if need be. */
  addClient(name: string, options?: PeerOptions): Promise<RawClient>;
  /** Logs a client of slixmpp in, registering its name if need be. */
  addPeer(name: string, options?: PeerOptions): Promise<SlixmppClient>;
  /** Inserts a row into `xmpp_tx_queue` and returns its id. */
  insert(columns: Record<string, unknown>): Promise<number>;
  /** Waits until a row of `xmpp_tx_queue` is in the state, and returns it. */
  untilState(id: number, state: string): Promise<TxRow>;
  close(): Promise<void>;
};

export type TxRow = {
  id: number;
  account_id: number | null;
  state: string;
  stanza_id: string | null;
  submission_timestamp: Date | null;
  submission_failed: boolean;
  submission_info: string | null;
  delivered_at: Date | null;
  displayed_at: Date | null;
};

export type Peer = {
  name: 'Prosody' | 'ejabberd';
  /** Why its dialogues are left out. On a machine where all must run, it fails instead. */
  skip: string | false;
  start(options: ServerOptions & { dir: string }): Promise<TestServer>;
};

export const PASSWORD = 'a secret ünlike others';

export const skipWithout = (name: string, path: string | null): string | false =>
  path === null && !process.env.CI ? `${name} is not installed` : false;

/** Why dialogues with slixmpp are left out, by the same rule as those with a server. */
export const SLIXMPP_SKIP = skipWithout('slixmpp', findSlixmpp());

const withServices = (server: Omit<TestServer, 'roomsDomain' | 'uploadDomain'>): TestServer => ({
  ...server,
  roomsDomain: roomsDomainOf(server.domain),
  uploadDomain: uploadDomainOf(server.domain),
});

export const PROSODY: Peer = {
  name: 'Prosody',
  skip: skipWithout('Prosody', findProsody()),
  async start({ settings = '', ...options }) {
    const host = '127.0.0.1';
    const services = formatProsodyServices(
      options.domain ?? 'localhost',
      host,
      await findFreePort(host),
    );
    const server = await startProsody({
      ...options,
      accounts: {},
      modules: PROSODY_MODULES,
      settings: `${services.globals}\n${settings}\n${services.hosts}`,
    });
    return withServices(server);
  },
};

export const EJABBERD: Peer = {
  name: 'ejabberd',
  skip: skipWithout('ejabberd', findEjabberd()),
  start: async ({ dir, domain, tls }) =>
    withServices(
      await startEjabberd({ dir, accounts: {}, ...(domain && { domain }), ...(tls && { tls }) }),
    ),
};

/** Holds the dialogues with each real server in turn. */
export const describeEach = (what: string, hold: (peer: Peer) => void): void => {
  for (const peer of [PROSODY, EJABBERD]) {
    describe(`${what}, ${peer.name}`, { skip: peer.skip }, () => hold(peer));
  }
};

/** As `describeEach`, for dialogues that need slixmpp at the far end. */
export const describeEachWithSlixmpp = (what: string, hold: (peer: Peer) => void): void => {
  for (const peer of [PROSODY, EJABBERD]) {
    const skip = peer.skip || SLIXMPP_SKIP;
    describe(`${what}, slixmpp, ${peer.name}`, { skip }, () => hold(peer));
  }
};

export const hasBody =
  (body: string) =>
  ({ element }: Stanza): boolean =>
    element.name === 'message' && element.find('body')?.text === body;

export const insertInto = async (
  db: TestDatabase,
  table: string,
  columns: Record<string, unknown>,
): Promise<number> => {
  const names = Object.keys(columns);
  const [row] = await db.rows<{ id: number }>(
    `insert into ${table} (${names.join(', ')})
    values (${names.map((_, index) => `$${index + 1}`).join(', ')}) returning id`,
    Object.values(columns),
  );
  if (!row) throw new Error(`nothing was inserted into ${table}`);
  return row.id;
};

export const untilOnline = (db: TestDatabase, id: number) =>
  db.until("select from xmpp_accounts where id = $1 and state = 'online'", [id]);

/** Starts the server, a daemon and its database. */
export const createScene = async (peer: Peer, options: ServerOptions = {}): Promise<Scene> => {
  const dir = await mkdtemp(join(tmpdir(), 'scene-'));
  const [server, db] = await Promise.all([peer.start({ ...options, dir }), testDatabase()]);
  const daemon = await startDaemon(db.address);
  const { host, port, domain } = server;
  const clients: RawClient[] = [];
  const slixmpps: SlixmppClient[] = [];
  const registered = new Set<string>();
  const register = async (name: string) => {
    if (!registered.has(name)) await server.addAccount(name, PASSWORD);
    registered.add(name);
  };
  return {
    db,
    server,
    daemon,
    async addAccount(name, columns = {}) {
      await register(name);
      const id = await insertInto(db, 'xmpp_accounts', {
        enabled: true,
        acc_jid: `${name}@${domain}`,
        acc_pass: PASSWORD,
        srv_host: host,
        srv_port: port,
        ...columns,
      });
      if (columns.enabled !== false) await untilOnline(db, id);
      return id;
    },
    async addClient(name, clientOptions = {}) {
      await register(name);
      const jid = `${name}@${domain}`;
      const client = await connectRaw({ host, port, jid, password: PASSWORD, ...clientOptions });
      clients.push(client);
      return client;
    },
    async addPeer(name, { resource, presence } = {}) {
      await register(name);
      const jid = `${name}@${domain}${resource ? `/${resource}` : ''}`;
      const account = { host, port, jid, password: PASSWORD };
      const client = await connectSlixmpp({
        ...account,
        ...(presence !== undefined && { presence }),
      });
      slixmpps.push(client);
      return client;
    },
    insert: (columns) => insertInto(db, 'xmpp_tx_queue', columns),
    untilState: (id, state) =>
      db.until<TxRow>('select * from xmpp_tx_queue where id = $1 and state = $2', [id, state]),
    async close() {
      for (const client of clients) client.destroy();
      await Promise.all(slixmpps.map((client) => client.close()));
      await daemon.stop();
      await db[Symbol.asyncDispose]();
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};
