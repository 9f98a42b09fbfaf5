/** `rowgram demo`: a row goes out through a real XMPP server and comes back as a row, before one's eyes. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { createAccountsGateway } from '../accounts/gateway.ts';
import { connect, type DatabaseAddress } from '../db/connect.ts';
import type { EmbeddedPostgres } from '../db/embedded.ts';
import { migrate } from '../db/migrate.ts';
import { ConfigError } from '../errors.ts';
import { startGateways } from '../gateway.ts';
import { createLog } from '../log.ts';
import { startProsody } from './prosody.ts';

export type DemoOptions = {
  address: DatabaseAddress;
  embedded: EmbeddedPostgres | null;
  dataDir: string;
  version: string;
  once: boolean;
  say(text: string): void;
};

const PATIENCE_MS = 20_000;
const POLL_MS = 20;

/** Reads until the query has a row. */
const until = async <Row extends pg.QueryResultRow>(
  client: pg.Client,
  text: string,
  values: unknown[],
): Promise<Row> => {
  const giveUpAt = Date.now() + PATIENCE_MS;
  while (Date.now() < giveUpAt) {
    const { rows } = await client.query<Row>(text, values);
    const [row] = rows;
    if (row) return row;
    await delay(POLL_MS);
  }
  throw new ConfigError(`nothing came of: ${text.trim()}`);
};

const DELETE_ACCOUNTS = `
  delete from xmpp_accounts where acc_jid in ('alice@localhost', 'bob@localhost')`;

type Port = { host: string; port: number };

const ACCOUNT = `
  insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host, srv_port, is_default)
  values (true, $1, $2, $3, $4, $5)
  returning id`;

/** Two accounts of this run; those of earlier runs go, since their server is gone. */
const createAccounts = async (client: pg.Client, { host, port }: Port, password: string) => {
  await client.query(
    "delete from xmpp_accounts where acc_jid in ('alice@localhost', 'bob@localhost')",
  );
  const { rows } = await client.query('select from xmpp_accounts where is_default');
  await client.query(ACCOUNT, ['alice@localhost', password, host, port, rows.length === 0]);
  await client.query(ACCOUNT, ['bob@localhost', password, host, port, false]);
};

const INSERT = `
  insert into xmpp_tx_queue (account_id, message_to, message_body)
  values (xmpp_account('alice@localhost'), 'bob@localhost', 'Hello from a row!')
  returning id`;

const showRoundTrip = async (client: pg.Client, say: (text: string) => void) => {
  const startedAt = performance.now();
  const ms = () => `${(performance.now() - startedAt).toFixed(0).padStart(4)} ms`;
  const { id } = await until<{ id: number }>(client, INSERT, []);
  say(`${ms()}  row ${id} of xmpp_tx_queue inserted: alice writes to bob`);
  await until(client, "select from xmpp_tx_queue where id = $1 and state >= 'submitted'", [id]);
  say(`${ms()}  row ${id} submitted: Prosody has acknowledged it`);
  const received = await until<{ id: number; message_from: string; message_body: string }>(
    client,
    `select r.id, r.message_from, r.message_body from xmpp_rx_queue r
     join xmpp_tx_queue q on q.stanza_id = r.message_id where q.id = $1 and q.settled`,
    [id],
  );
  say(
    `${ms()}  row ${received.id} of xmpp_rx_queue: ${received.message_from} wrote '${received.message_body}'`,
  );
  await until(client, "select from xmpp_tx_queue where id = $1 and state = 'delivered'", [id]);
  say(`${ms()}  row ${id} delivered: bob's receipt has come back`);
};

const INVITATION = `
The demo stays up. In another terminal, in this folder:

  npm run -s sql -- "insert into xmpp_tx_queue (message_to, message_body) values ('bob@localhost', 'Hi!')"
  npm run -s sql -- "select message_from, message_body from xmpp_rx_queue order by id desc limit 3"
  npm run -s status

Ctrl-C stops it.`;

/** @returns the exit code */
export const runDemo = async (options: DemoOptions, signal: AbortSignal): Promise<number> => {
  const { address, embedded, dataDir, version, say, once } = options;
  say(
    embedded
      ? `PostgreSQL (embedded) runs on ${embedded.dataDir}`
      : 'PostgreSQL is that of DATABASE_URL',
  );
  const done = await migrate(address, say);
  say(`Database ${done.length > 0 ? `migrated: ${done.join(', ')}` : 'is up to date'}`);
  const password = randomBytes(12).toString('hex');
  const prosody = await startProsody({
    dir: `${dataDir}/prosody`,
    accounts: { alice: password, bob: password },
  });
  say(`Prosody (private) listens on ${prosody.host}:${prosody.port}`);
  const log = createLog(process.env.LOG_LEVEL || 'warn', 2);
  const runner = await startGateways(
    { address, version, log, create: [createAccountsGateway] },
    signal,
  );
  const client = await connect(address, 'demo');
  try {
    await createAccounts(client, prosody, password);
    await until(
      client,
      "select where (select count(*) from xmpp_accounts where state = 'online' and acc_jid like '%@localhost') = 2",
      [],
    );
    say('alice@localhost and bob@localhost are online\n');
    await showRoundTrip(client, say);
    if (!once) {
      say(INVITATION);
      await new Promise((stopped) => signal.addEventListener('abort', stopped, { once: true }));
      say('stopping');
    }
  } finally {
    // Their server ends with the demo.
    await client.query(DELETE_ACCOUNTS);
    await client.end();
    await runner.stop();
    await prosody.stop();
    await embedded?.stop();
  }
  return 0;
};
