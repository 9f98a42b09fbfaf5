/** Runs the daemon amid faults under load, and judges what came of it. */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { connect } from '../../src/db/connect.ts';
import { FAULTS, type Fault, SERVER_LOSES } from './faults.ts';
import { type Load, startLoad } from './load.ts';
import { createRandom, type Random } from './random.ts';
import { type Evidence, type Inflicted, judge, type Verdict } from './verdict.ts';
import { type ChaosAccount, startWorld, type World } from './world.ts';

export type ChaosOptions = {
  faults: number;
  seed: number;
  say(text: string): void;
  /** Only faults whose kind contains this. */
  only?: string;
};

const POLL_MS = 15;
const RECOVERY_MS = 60_000;
const SETTLE_MS = 90_000;
/** How often a fault is followed by another before anyone has recovered from it. */
const HASTE = 0.5;

/** Runs a query on a connection of its own; while the database is out of reach, anew. */
const query = async <Row extends pg.QueryResultRow>(
  world: World,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> => {
  for (const giveUpAt = Date.now() + RECOVERY_MS; ; await delay(POLL_MS)) {
    const client = await connect(world.address, 'chaos').catch(() => null);
    try {
      if (client) return (await client.query<Row>(text, values)).rows;
    } catch (error) {
      if (Date.now() > giveUpAt) throw error;
    } finally {
      await client?.end().catch(() => {});
    }
    if (Date.now() > giveUpAt) throw new Error('the database is out of reach');
  }
};

/** @throws Error with `what` when the time is up */
const until = async (what: string, timeoutMs: number, isSo: () => Promise<boolean>) => {
  const giveUpAt = Date.now() + timeoutMs;
  while (!(await isSo())) {
    if (Date.now() > giveUpAt) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await delay(POLL_MS);
  }
};

/** Waits until a new row has gone out and a new message has come in. */
const recover = async (world: World, load: Load, account: ChaosAccount): Promise<void> => {
  const { rowBody, sentBody } = await load.probe(account);
  const [to = ''] = world.recipients;
  await load.sinks.get(to)?.waitFor([rowBody], RECOVERY_MS);
  // The message may be lost with the server that had it; one of the next ones will do.
  const number = Number(sentBody.split(':')[1]);
  await until(`${sentBody} is a row`, RECOVERY_MS, async () => {
    const [last] = await query<{ number: number }>(
      world,
      `select split_part(message_body, ':', 2)::integer as number from xmpp_rx_queue
      where account_id = $1 and message_body is not null order by id desc limit 1`,
      [account.id],
    );
    return last !== undefined && last.number >= number;
  });
};

const inflict = async (
  fault: Fault,
  world: World,
  load: Load,
  random: Random,
): Promise<Inflicted> => {
  const account = random.pick(world.accounts);
  await delay(random.between(50, 600));
  const startedAt = Date.now();
  await fault.inflict(world, account, random);
  const healedAt = Date.now();
  const { kind } = fault;
  if (random.next() < HASTE) return { kind, startedAt, healedAt, recoveryMs: null };
  const touched = fault.reach === 'all' ? world.accounts : [account];
  await Promise.all(touched.map((each) => recover(world, load, each)));
  return { kind, startedAt, healedAt, recoveryMs: Date.now() - healedAt };
};

/** Faults in a random order, each kind as often as any other. */
const chooseFaults = ({ faults, only = '' }: ChaosOptions, random: Random): Fault[] => {
  const kinds = FAULTS.filter(({ kind }) => kind.includes(only));
  const chosen: Fault[] = [];
  while (chosen.length < faults) chosen.push(...random.shuffle(kinds));
  return chosen.slice(0, faults);
};

const collectEvidence = async (
  world: World,
  load: Load,
  faults: Inflicted[],
): Promise<Evidence> => ({
  faults,
  written: load.rows,
  rows: await query(
    world,
    `select message_body as body, state::text, stanza_id as "stanzaId", account_id as "linkId",
      extract(epoch from submission_timestamp)::float8 * 1000 as "settledAt"
    from xmpp_tx_queue order by id`,
  ),
  arrivals: [...load.sinks].flatMap(([recipient, sink]) =>
    sink.messages.map(({ body, id, at }) => ({ recipient, body, id, at: at.getTime() })),
  ),
  sent: load.sent,
  received: await query(
    world,
    `select message_body as body, message_id as "messageId",
      extract(epoch from insert_timestamp)::float8 * 1000 as at
    from xmpp_rx_queue where message_body is not null order by id`,
  ),
  serverLoses: SERVER_LOSES,
});

/** Lets all that is under way arrive; what does not is for the judge. */
const settle = async (world: World, load: Load, say: ChaosOptions['say']): Promise<void> => {
  await load.quiet();
  // Each account connects once more, over a network that is whole.
  for (const { proxy } of world.accounts) proxy.reset();
  const isEmpty = async () => {
    const [row] = await query<{ left: number }>(
      world,
      'select count(*)::integer as left from xmpp_tx_queue where not settled',
    );
    return row?.left === 0;
  };
  await until('all rows are settled', SETTLE_MS, isEmpty).catch(async (error: unknown) => {
    const accounts = await query(world, 'select id, state, state_info from xmpp_accounts');
    const waits = await query(
      world,
      `select application_name, state, wait_event, left(query, 200) as query from pg_stat_activity
      where datname = current_database()`,
    );
    say(`${error}\n${JSON.stringify(accounts)}\n${JSON.stringify(waits, null, 1)}`);
    say(world.prosody.log().slice(-3_000));
  });
  let before = -1;
  await until('nothing more arrives', SETTLE_MS, async () => {
    const [row] = await query<{ received: number }>(
      world,
      'select count(*)::integer as received from xmpp_rx_queue',
    );
    const arrived = [...load.sinks.values()].reduce((sum, sink) => sum + sink.messages.length, 0);
    const now = arrived + (row?.received ?? 0);
    const isStill = now === before;
    before = now;
    if (!isStill) await delay(1_500);
    return isStill;
  });
};

export type ChaosResult = Verdict & { daemonLog: string };

/** @throws Error when the daemon does not recover from a fault within a minute */
export const runChaos = async (options: ChaosOptions): Promise<ChaosResult> => {
  const { seed, say } = options;
  const random = createRandom(seed);
  const world = await startWorld();
  const inflicted: Inflicted[] = [];
  try {
    await world.startDaemon();
    const load = await startLoad(world, random.between(1, 2 ** 31));
    try {
      for (const account of world.accounts) await recover(world, load, account);
      for (const fault of chooseFaults(options, random)) {
        const done = await inflict(fault, world, load, random).catch((error: unknown) => {
          const text = `no recovery from fault ${inflicted.length + 1}, ${fault.kind}`;
          throw new Error(`${text}\n${world.daemonLog().slice(-4_000)}`, { cause: error });
        });
        inflicted.push(done);
        const back = done.recoveryMs === null ? 'at once another' : `${done.recoveryMs} ms`;
        say(`${inflicted.length} ${done.kind}: ${done.healedAt - done.startedAt} ms, ${back}`);
      }
      await settle(world, load, say);
      return {
        ...judge(await collectEvidence(world, load, inflicted)),
        daemonLog: world.daemonLog(),
      };
    } finally {
      await load.stop();
    }
  } finally {
    await world.stop();
  }
};
