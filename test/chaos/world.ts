/** All that the chaos happens to: a database server, an XMPP server, networks and a daemon. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, type DatabaseAddress } from '../../src/db/connect.ts';
import { startEmbedded } from '../../src/db/embedded.ts';
import { migrate } from '../../src/db/migrate.ts';
import { type GuardedChild, spawnGuarded } from '../../src/demo/guardedChild.ts';
import { type PrivateProsody, startProsody } from '../../src/demo/prosody.ts';
import { type FaultProxy, startFaultProxy } from '../peers/faultProxy.ts';

/** An account of the daemon's, behind a network of its own. */
export type ChaosAccount = { id: number; jid: string; proxy: FaultProxy };

export type World = {
  address: DatabaseAddress;
  prosody: PrivateProsody;
  accounts: ChaosAccount[];
  /** Bare addresses at the far end, which are reached directly. */
  recipients: string[];
  sender: string;
  /** Of everyone at the far end. */
  password: string;
  daemon(): GuardedChild;
  /** All that the daemons have logged, but for what is beyond 64 kB of one of them. */
  daemonLog(): string;
  startDaemon(): Promise<void>;
  restartPostgres(how: 'stop' | 'kill'): Promise<void>;
  stop(): Promise<void>;
};

const DAEMON = fileURLToPath(new URL('daemon.ts', import.meta.url));
const PASSWORD = 'secret';
const ACCOUNTS = ['a0', 'a1', 'a2'];
const RECIPIENTS = ['r0', 'r1', 'r2'];
const SENDER = 'sender';

/** Prosody bounces or stores what a session that is gone has not acknowledged, only without an archive. */
const PROSODY_SETTINGS = `
modules_disabled = { "s2s", "s2s_auth_certs", "tls", "mam" }
smacks_max_queue_size = 10000
`;

const insertAccounts = async (
  address: DatabaseAddress,
  prosody: PrivateProsody,
): Promise<ChaosAccount[]> => {
  const client = await connect(address, 'chaos');
  const accounts: ChaosAccount[] = [];
  for (const name of ACCOUNTS) {
    const proxy = await startFaultProxy({ target: { host: prosody.host, port: prosody.port } });
    const jid = `${name}@${prosody.domain}`;
    const { rows } = await client.query<{ id: number }>(
      `insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host, srv_port)
      values (true, $1, $2, $3, $4) returning id`,
      [jid, PASSWORD, proxy.host, proxy.port],
    );
    accounts.push({ id: rows[0]?.id ?? 0, jid, proxy });
  }
  await client.end();
  return accounts;
};

const makeDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), 'rowgram-chaos-'));

export const startWorld = async (): Promise<World> => {
  // Each its own, since the database server may run as another user.
  const dirs = [await makeDirectory(), await makeDirectory()] as const;
  const options = { dir: dirs[0], settings: { max_connections: '100' } };
  let postgres = await startEmbedded(options);
  const address = { url: postgres.url, schema: 'public' };
  await migrate(address);
  const names = [...ACCOUNTS, ...RECIPIENTS, SENDER];
  const prosody = await startProsody({
    dir: dirs[1],
    accounts: Object.fromEntries(names.map((name) => [name, PASSWORD])),
    settings: PROSODY_SETTINGS,
  });
  const accounts = await insertAccounts(address, prosody);
  let daemon: GuardedChild | null = null;
  let oldLogs = '';
  const current = () => {
    if (daemon === null) throw new Error('the daemon was never started');
    return daemon;
  };
  return {
    address,
    prosody,
    accounts,
    recipients: RECIPIENTS.map((name) => `${name}@${prosody.domain}`),
    sender: `${SENDER}@${prosody.domain}`,
    password: PASSWORD,
    daemon: current,
    daemonLog: () => oldLogs + (daemon?.log() ?? ''),
    async startDaemon() {
      oldLogs += daemon?.log() ?? '';
      const environment = { ...process.env, DATABASE_URL: address.url };
      daemon = await spawnGuarded([process.execPath, DAEMON], environment);
    },
    async restartPostgres(how) {
      if (how === 'kill') {
        const text = await readFile(join(postgres.dataDir, 'postmaster.pid'), 'utf8');
        process.kill(Number.parseInt(text, 10), 'SIGKILL');
        await postgres.ended;
      } else await postgres.stop();
      postgres = await startEmbedded(options);
      if (postgres.url !== address.url) throw new Error('the database has moved');
    },
    async stop() {
      await daemon?.stop(6_000);
      for (const { proxy } of accounts) await proxy.stop();
      await prosody.stop();
      await postgres.stop();
      for (const dir of dirs) await rm(dir, { recursive: true, force: true });
    },
  };
};
