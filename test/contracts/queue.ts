/** What every queue table keeps to, whichever gateway reads it. Each one's test runs this on its own. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import type pg from 'pg';
import { connect } from '../../src/db/connect.ts';
import type { QueueRow } from '../../src/db/linkBuffer.ts';
import { createListener } from '../../src/db/listen.ts';
import { createOwnership, DEFAULT_SHARD, shardOf } from '../../src/db/ownership.ts';
import { createQueue, type Link, type Unlinked } from '../../src/db/queue.ts';
import type { QueueTable } from '../../src/db/queueSql.ts';
import type { Result } from '../../src/db/queueWriter.ts';
import { createLog } from '../../src/log.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

export type QueueSubject<Row extends QueueRow> = {
  table: QueueTable;
  orderKey(row: Row): string;
  /** The column that the order key rests on, and a value for it by number. */
  keyColumn: string;
  keyOf(number: number): string;
};

type Values = Record<string, unknown>;

/** A link that settles what it gets, or does what the test says. */
type Collector<Row extends QueueRow> = {
  link: Link<Row>;
  taken: Row[];
  /** Takes at most that many at a time; 0 to leave them in the queue. */
  takeAtOnce(count: number): void;
  onRow(handle: (row: Row, link: Link<Row>) => void): void;
  pump(): void;
  /** How often the queue has said that there may be something. */
  askedCount(): number;
  /** Settles when `isTrue`, asked after each take. */
  until(isTrue: () => boolean, timeoutMs?: number): Promise<void>;
};

const SUBMITTED: Result = { state: 'submitted', info: null, stanzaId: 'wire-id' };
/** Far below the 30 s of the reader's safety fetch. */
const SOON_MS = 5_000;

const createCollector = <Row extends QueueRow>(
  openLink: (onRows: () => void) => Link<Row>,
): Collector<Row> => {
  const events = new EventEmitter();
  const taken: Row[] = [];
  let atOnce = 100;
  let handle = (row: Row, link: Link<Row>) => link.settle(row, SUBMITTED);
  const pump = () => {
    for (let rows = link.take(atOnce); rows.length > 0; rows = link.take(atOnce)) {
      taken.push(...rows);
      for (const row of rows) handle(row, link);
    }
    events.emit('taken');
  };
  // A queue may call before it has returned the link.
  let asked = 0;
  const link: Link<Row> = openLink(() => {
    asked += 1;
    queueMicrotask(pump);
  });
  // Whoever opens a link asks it first; from then on it calls.
  queueMicrotask(pump);
  return {
    link,
    taken,
    pump,
    askedCount: () => asked,
    takeAtOnce(count) {
      atOnce = count;
    },
    onRow(given) {
      handle = given;
    },
    async until(isTrue, timeoutMs = 20_000) {
      const signal = AbortSignal.timeout(timeoutMs);
      while (!isTrue()) await once(events, 'taken', { signal });
    },
  };
};

/** A queue with its reader, and the ownership of all shards. */
const openReader = async <Row extends QueueRow>(subject: QueueSubject<Row>) => {
  const db = await testDatabase();
  const { address } = db;
  const { table, orderKey, keyColumn, keyOf } = subject;
  const log = createLog(process.env.LOG_LEVEL || 'silent', 2);
  const ownership = createOwnership({ address, version: 'test', log });
  const changes = new EventEmitter();
  let defaultId: number | null = null;
  let describe = (_linkId: number | null): Unlinked => ({ verdict: 'wait', info: 'no link yet' });
  const queue = createQueue<Row>({
    address,
    table,
    ownership,
    log,
    orderKey,
    describeUnlinked: (linkId) => describe(linkId),
  });
  const listener = await createListener(address, log, () => queue.resync());
  await listener.on(table.name, queue.ring);
  await listener.on('notify_table_change', (payload) => {
    if (payload !== table.name) return;
    queue.recheckHeld();
    changes.emit('news');
  });
  const epochs = () => ownership.epochs(table.gateway);
  const untilOwned = async (isTrue: () => boolean) => {
    while (!isTrue()) await once(changes, 'change', { signal: AbortSignal.timeout(20_000) });
  };
  ownership.start([
    {
      gateway: table.gateway,
      defaultLinkShard: () => (defaultId === null ? null : shardOf(defaultId)),
      release: () => queue.flushed(1_000),
      onChange() {
        queue.resync();
        changes.emit('change');
      },
    },
  ]);
  await untilOwned(() => epochs().size >= 64);

  const insert = async (rows: Values[], client: pg.Client = db.client): Promise<number[]> => {
    const ids: number[] = [];
    for (const [index, row] of rows.entries()) {
      const all: Values = { [table.linkColumn]: 1, [keyColumn]: keyOf(index), ...row };
      const names = Object.keys(all);
      const { rows: inserted } = await client.query<{ id: number }>(
        `insert into ${table.name} (${names.join()})
        values (${names.map((_, at) => `$${at + 1}`).join()}) returning id`,
        Object.values(all),
      );
      ids.push(...inserted.map(({ id }) => id));
    }
    return ids;
  };

  return {
    db,
    queue,
    insert,
    epochs,
    untilOwned,
    collect: (linkId = 1) => createCollector<Row>((onRows) => queue.openLink(linkId, onRows)),
    describe(given: (linkId: number | null) => Unlinked) {
      describe = given;
    },
    async setDefault(linkId: number) {
      defaultId = linkId;
      ownership.poke();
      await untilOwned(() => epochs().has(DEFAULT_SHARD));
      queue.setDefault(linkId);
    },
    /** Settles when the queue has been told that rows may have been cancelled. */
    heard: () => once(changes, 'news', { signal: AbortSignal.timeout(20_000) }),
    /** Settles when the doorbell is armed: the reader sleeps, but for a ring that it has yet to hear. */
    asleep: () => db.until(bellLocks(table), [true]),
    /** Settles when the reader waits for a producer's lock before it can sleep. */
    arming: () => db.until(bellLocks(table), [false]),
    row: async (id: number): Promise<Values> => {
      const [row] = await db.rows(`select * from ${table.name} where id = $1`, [id]);
      return row ?? {};
    },
    settled: (count: number) =>
      db.until(`select from ${table.name} where settled having count(*) >= $1`, [count], 60_000),
    async [Symbol.asyncDispose]() {
      await queue.close();
      await listener.close();
      await ownership.close();
      await db[Symbol.asyncDispose]();
    },
  };
};

const bellLocks = ({ name }: QueueTable): string => `
  select from pg_locks
  where locktype = 'advisory' and mode = 'ExclusiveLock' and classid = '${name}'::regclass
    and database = (select oid from pg_database where datname = current_database())
  having bool_and(granted) = $1`;

const idsOf = (rows: QueueRow[]): number[] => rows.map(({ id }) => id);
const range = (count: number): Values[] => Array.from({ length: count }, () => ({}));
const inMs = (ms: number): Date => new Date(Date.now() + ms);

/** Runs `work` on so many connections at once. */
const concurrently = async (
  { address }: TestDatabase,
  count: number,
  work: (client: pg.Client, index: number) => Promise<void>,
): Promise<void> => {
  await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const client = await connect(address, 'producer');
      await work(client, index).finally(() => client.end());
    }),
  );
};

export const queueContract = <Row extends QueueRow>(subject: QueueSubject<Row>): void => {
  const { table, keyOf, keyColumn } = subject;
  const open = () => openReader(subject);
  const named = (text: string) => `${table.name}: ${text}`;

  test(named('rows go out by priority, then in the order of insertion'), async () => {
    await using reader = await open();
    const priorities = [0, 5, -1, 0, 5, -1, 0];
    const ids = await reader.insert(priorities.map((priority) => ({ priority })));
    const link = reader.collect();
    await link.until(() => link.taken.length === ids.length);
    const expected = [2, 5, 0, 3, 6, 1, 4].map((at) => ids[at]);
    assert.deepEqual(idsOf(link.taken), expected);
    await reader.settled(ids.length);
    const row = await reader.row(ids[0] ?? 0);
    assert.equal(row.state, 'submitted');
    assert.equal(row.stanza_id, 'wire-id');
    assert.ok(row.submission_timestamp instanceof Date);
  });

  test(named('rows of a transaction that was rolled back never go out'), async () => {
    await using reader = await open();
    const link = reader.collect();
    await reader.db.client.query('begin');
    await reader.insert(range(3));
    await reader.db.client.query('rollback');
    await reader.db.client.query('begin');
    const [kept] = await reader.insert([{}]);
    await reader.db.client.query('savepoint s');
    await reader.insert([{}]);
    await reader.db.client.query('rollback to s');
    await reader.db.client.query('commit');
    await reader.settled(1);
    assert.deepEqual(idsOf(link.taken), [kept]);
  });

  test(named('a row that commits after rows with larger ids is found'), async () => {
    await using reader = await open();
    const link = reader.collect();
    const late = await connect(reader.db.address, 'producer');
    await late.query('begin');
    const [first] = await reader.insert([{}], late);
    await reader.insert(range(5));
    await reader.settled(5);
    await late.query('commit');
    await late.end();
    await link.until(() => idsOf(link.taken).includes(first ?? 0), SOON_MS);
  });

  test(named('eight producers of all kinds lose no row and send none twice'), async () => {
    await using reader = await open();
    const link = reader.collect();
    const committed = new Set<number>();
    const begins = ['', ' isolation level repeatable read', ' isolation level serializable'];
    await concurrently(reader.db, 8, async (client, index) => {
      for (let turn = 0; turn < 25; turn += 1) {
        await client.query(`begin${begins[(turn + index) % begins.length]}`);
        const ids = await reader.insert(range(1 + (turn % 3)), client);
        if (turn % 4 === 0) {
          await client.query('savepoint s');
          await reader.insert([{}], client);
          await client.query(turn % 8 === 0 ? 'rollback to s' : 'release s');
          if (turn % 8 !== 0) ids.push((ids.at(-1) ?? 0) as number);
        }
        // Some stay open for longer than the reader lingers, up to 200 ms.
        if (turn % 6 === index % 6) await client.query(`select pg_sleep(${0.025 * (1 + index)})`);
        await client.query(turn % 7 === 3 ? 'rollback' : 'commit');
        if (turn % 7 !== 3) for (const id of ids) committed.add(id);
      }
    });
    const rows = await reader.db.rows<{ id: number }>(`select id from ${table.name}`);
    await reader.settled(rows.length);
    assert.ok(rows.length >= committed.size);
    const taken = idsOf(link.taken);
    assert.equal(new Set(taken).size, taken.length, 'a row was taken twice');
    assert.deepEqual(
      taken.toSorted((a, b) => a - b),
      idsOf(rows as QueueRow[]).toSorted((a, b) => a - b),
    );
  });

  test(named('a sleeping reader is woken by an insert, each time'), async () => {
    await using reader = await open();
    const link = reader.collect();
    for (let turn = 1; turn <= 3; turn += 1) {
      await reader.asleep();
      await reader.insert([{}]);
      await link.until(() => link.taken.length === turn, SOON_MS);
    }
  });

  /** A transaction that has seen the reader awake; the rows of others wake it until then. */
  const openProducer = async (
    reader: Awaited<ReturnType<typeof open>>,
    link: Collector<Row>,
  ): Promise<pg.Client> => {
    const producer = await connect(reader.db.address, 'producer');
    const tryLock = `select pg_try_advisory_xact_lock_shared(
      '${table.name}'::regclass::oid::integer, 1) as "isAwake"`;
    for (let others = 1; ; others += 1) {
      await producer.query('begin');
      if ((await producer.query(tryLock)).rows[0].isAwake) return producer;
      await producer.query('rollback');
      await reader.insert([{}]);
      await link.until(() => link.taken.length === others, SOON_MS);
    }
  };

  test(named('a producer that saw the reader awake and commits later is not missed'), async () => {
    await using reader = await open();
    const link = reader.collect();
    const producer = await openProducer(reader, link);
    const [early] = await reader.insert([{}], producer);
    await reader.arming();
    // Who comes while the reader waits rings, though it does not sleep yet.
    const [between] = await reader.insert([{}]);
    await link.until(() => idsOf(link.taken).includes(between ?? 0), SOON_MS);
    assert.ok(!idsOf(link.taken).includes(early ?? 0));
    await producer.query('commit');
    await producer.end();
    await link.until(() => idsOf(link.taken).includes(early ?? 0), SOON_MS);
  });

  test(named('rows of other shards go out while the reader waits for a producer'), async () => {
    await using reader = await open();
    const link = reader.collect();
    const producer = await openProducer(reader, link);
    await reader.arming();
    const others = Array.from({ length: 40 }, (_, at) => reader.collect(at + 2));
    await reader.insert(others.map((_, at) => ({ [table.linkColumn]: at + 2 })));
    await Promise.all(others.map((other) => other.until(() => other.taken.length === 1, SOON_MS)));
    await producer.end();
  });

  test(named('a shard that comes while the reader waits for a producer rings, too'), async () => {
    await using reader = await open();
    const link = reader.collect();
    const producer = await openProducer(reader, link);
    await reader.arming();
    await reader.setDefault(1);
    // This one rings; when it is taken the reader has looked at its shards again.
    const [before] = await reader.insert([{}]);
    await link.until(() => idsOf(link.taken).includes(before ?? 0), SOON_MS);
    await producer.end();
    await reader.asleep();
    const [id] = await reader.insert([{ [table.linkColumn]: null }]);
    await link.until(() => idsOf(link.taken).includes(id ?? 0), SOON_MS);
  });

  test(named('20,000 rows of one statement all go out, in order and once'), async () => {
    await using reader = await open();
    const link = reader.collect();
    await reader.asleep();
    await reader.db.rows(
      `insert into ${table.name} (${table.linkColumn}, ${keyColumn})
      select 1, $1 from generate_series(1, 20000)`,
      [keyOf(0)],
    );
    await reader.settled(20_000);
    const taken = idsOf(link.taken);
    assert.equal(taken.length, 20_000);
    assert.deepEqual(
      taken,
      taken.toSorted((a, b) => a - b),
    );
  });

  test(
    named('a backlog taken in small bites keeps its order, with new rows in between'),
    async () => {
      await using reader = await open();
      await reader.db.rows(
        `insert into ${table.name} (${table.linkColumn}, ${keyColumn}, priority)
      select 1, $1, n % 3 from generate_series(1, 3000) n`,
        [keyOf(0)],
      );
      const link = reader.collect();
      link.takeAtOnce(7);
      await link.until(() => link.taken.length > 100);
      await reader.insert([{ priority: 9 }, { priority: 9 }]);
      await reader.settled(3002);
      const places = link.taken.map(({ priority, id }) => priority * 1_000_000 + id);
      assert.equal(new Set(places).size, 3002);
      assert.deepEqual(
        places,
        places.toSorted((a, b) => a - b),
      );
    },
  );

  test(named('a row waits for its send_after, in the table and when it comes'), async () => {
    await using reader = await open();
    const sendAfter = inMs(1_500);
    const [before] = await reader.insert([{ send_after: sendAfter }]);
    const link = reader.collect();
    await reader.asleep();
    const ids = await reader.insert([{}, { send_after: sendAfter }]);
    await link.until(() => link.taken.length === 3);
    assert.ok(Date.now() >= sendAfter.getTime());
    assert.equal(link.taken[0]?.id, ids[0]);
    assert.deepEqual(
      idsOf(link.taken.slice(1)).toSorted((a, b) => a - b),
      [before, ids[1]],
    );
  });

  test(
    named('a row that expires is not sent, whether it is held or its link is closed'),
    async () => {
      await using reader = await open();
      const link = reader.collect();
      link.takeAtOnce(0);
      const ids = await reader.insert([
        { expires_at: inMs(300) },
        { expires_at: inMs(300), [table.linkColumn]: 2 },
        { expires_at: inMs(-1_000) },
        { expires_at: inMs(60_000) },
      ]);
      await reader.db.until(
        `select from ${table.name} where state = 'expired' and settled having count(*) = 3`,
      );
      link.takeAtOnce(10);
      link.pump();
      await link.until(() => link.taken.length > 0);
      assert.deepEqual(idsOf(link.taken), [ids[3]]);
      const expired = await reader.row(ids[0] ?? 0);
      assert.equal(expired.submission_info, 'expired before it was sent');
      assert.equal(expired.submission_timestamp, null);
    },
  );

  test(named('a row put off holds back those with its order key, and no others'), async () => {
    await using reader = await open();
    const [x, y] = [{ [keyColumn]: keyOf(1) }, { [keyColumn]: keyOf(2) }];
    const link = reader.collect();
    let hasRefused = false;
    link.onRow((row, queue) => {
      if (row.id !== first || hasRefused) return queue.settle(row, SUBMITTED);
      hasRefused = true;
      queue.putOff(row, 800, 'busy');
    });
    link.takeAtOnce(0);
    const [first = 0, second, third] = await reader.insert([x, x, y]);
    await reader.asleep();
    link.takeAtOnce(1);
    link.pump();
    const waiting = await reader.db.until<Values>(
      `select * from ${table.name} where submission_info = 'busy'`,
    );
    assert.equal(waiting.id, first);
    assert.equal(waiting.attempts, 1);
    assert.ok(waiting.next_try_at instanceof Date);
    await reader.settled(3);
    assert.deepEqual(idsOf(link.taken), [first, third, first, second]);
  });

  test(named('a row whose next try has come is told once, not over and over'), async () => {
    await using reader = await open();
    const link = reader.collect();
    link.onRow((row, queue) => queue.putOff(row, 50, 'busy'));
    await reader.insert([{}]);
    await link.until(() => link.taken.length === 1);
    link.takeAtOnce(0);
    await reader.db.until(`select from ${table.name} where next_try_at < now()`);
    await reader.asleep();
    const before = link.askedCount();
    await reader.db.rows('select pg_sleep(0.5)');
    assert.ok(link.askedCount() - before < 20, `asked ${link.askedCount() - before} times`);
  });

  const kill = (reader: { db: TestDatabase }, purpose: string) =>
    reader.db.rows(
      `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = $1 and datname = current_database()`,
      [`rowgram ${purpose}`],
    );

  test(named('a marked row says that it may have gone out, and is not cancelled'), async () => {
    await using reader = await open();
    const link = reader.collect();
    link.onRow(() => {});
    const ids = await reader.insert(range(3));
    await link.until(() => link.taken.length === 3);
    const [first = 0, second = 0, third = 0] = ids;
    const cancel = `update ${table.name} set state = 'cancelled' where id = $1`;
    await reader.db.rows(cancel, [second]);
    const marked = await link.link.mark(link.taken);
    assert.deepEqual(idsOf(marked), [first, third]);
    assert.equal((await reader.row(first)).state, 'submitting');
    await assert.rejects(reader.db.rows(cancel, [first]), /is submitting, it cannot become/);
    assert.deepEqual(idsOf(await link.link.mark(marked)), [first, third]);
    for (const row of marked) link.link.settle(row, SUBMITTED);
    await reader.settled(3);
    assert.equal((await reader.row(first)).state, 'submitted');
    assert.equal((await reader.row(second)).state, 'cancelled');
  });

  test(named('a row that was marked is known by it, and does not expire'), async () => {
    await using reader = await open();
    const first = reader.collect();
    first.onRow(() => {});
    const [id = 0] = await reader.insert([{ expires_at: inMs(700) }]);
    await first.until(() => first.taken.length === 1);
    assert.equal(first.taken[0]?.isSubmitting, false);
    await first.link.mark(first.taken);
    first.link.close();
    await reader.db.rows('select pg_sleep(1)');
    const second = reader.collect();
    reader.queue.resync();
    await second.until(() => second.taken.length === 1);
    assert.deepEqual(
      second.taken.map((row) => [row.id, row.isSubmitting]),
      [[id, true]],
    );
  });

  test(named('rows of a shard that is gone are not marked'), async () => {
    await using reader = await open();
    const link = reader.collect();
    link.onRow(() => {});
    const [id = 0] = await reader.insert([{}]);
    await link.until(() => link.taken.length === 1);
    await reader.db.rows('update rowgram_shards set epoch = epoch + 1 where shard = 1');
    assert.deepEqual(await link.link.mark(link.taken), []);
    assert.equal((await reader.row(id)).state, 'queued');
  });

  test(named('marks outlive the connection that they were to be written on'), async () => {
    await using reader = await open();
    const link = reader.collect();
    link.onRow(() => {});
    await reader.insert(range(2));
    await link.until(() => link.taken.length === 2);
    const marking = link.link.mark(link.taken);
    await kill(reader, `queue ${table.name}`);
    assert.equal((await marking).length, 2);
  });

  test(named('rows given back are first in line again'), async () => {
    await using reader = await open();
    const ids = await reader.insert(range(6));
    const link = reader.collect();
    const kept: Row[] = [];
    link.onRow((row) => kept.push(row));
    link.takeAtOnce(3);
    await link.until(() => kept.length === 6);
    link.takeAtOnce(0);
    link.onRow((row, queue) => queue.settle(row, SUBMITTED));
    link.link.giveBack(kept.slice(2, 4));
    link.link.giveBack(kept.slice(0, 2));
    link.link.giveBack(kept.slice(4));
    link.takeAtOnce(10);
    link.pump();
    assert.deepEqual(idsOf(link.taken.slice(6)), ids);
    await reader.settled(6);
  });

  test(named('a row cancelled before it is taken never goes out'), async () => {
    await using reader = await open();
    const cancel = `update ${table.name} set state = 'cancelled' where id = $1`;
    const [absent = 0] = await reader.insert([{}]);
    const heardFirst = reader.heard();
    await reader.db.rows(cancel, [absent]);
    await heardFirst;
    const link = reader.collect();
    link.takeAtOnce(0);
    const [held = 0] = await reader.insert([{}]);
    await reader.asleep();
    const heard = reader.heard();
    await reader.db.rows(cancel, [held]);
    await heard;
    // The first row may come in the step in which the news did, the second comes behind it.
    const other = reader.collect(2);
    for (const count of [1, 2]) {
      await reader.insert([{ [table.linkColumn]: 2 }]);
      await other.until(() => other.taken.length === count);
    }
    const [last] = await reader.insert([{}]);
    link.takeAtOnce(10);
    link.pump();
    await link.until(() => link.taken.length > 0);
    assert.deepEqual(idsOf(link.taken), [last]);
    assert.equal((await reader.row(held)).state, 'cancelled');
  });

  test(named('what waits behind a row goes when that is cancelled'), async () => {
    await using reader = await open();
    const same = { [keyColumn]: keyOf(1) };
    const link = reader.collect();
    link.onRow((row, queue) => {
      if (row.id === first) queue.putOff(row, 60_000, 'busy');
      else queue.settle(row, SUBMITTED);
    });
    link.takeAtOnce(0);
    const [first = 0, second] = await reader.insert([same, same]);
    link.takeAtOnce(10);
    link.pump();
    await reader.db.until(`select from ${table.name} where id = $1 and attempts > 0`, [first]);
    await reader.db.rows(`update ${table.name} set state = 'cancelled' where id = $1`, [first]);
    await link.until(() => link.taken.at(-1)?.id === second, SOON_MS);
  });

  test(named('a row that is put off after it was cancelled holds nothing up'), async () => {
    await using reader = await open();
    const same = { [keyColumn]: keyOf(1) };
    const link = reader.collect();
    link.onRow(() => {});
    const [first = 0] = await reader.insert([same]);
    await link.until(() => link.taken.length === 1);
    const heard = reader.heard();
    await reader.db.rows(`update ${table.name} set state = 'cancelled' where id = $1`, [first]);
    await heard;
    // With a row of another link that comes behind it, the news has been dealt with.
    const other = reader.collect(2);
    for (const count of [1, 2]) {
      await reader.insert([{ [table.linkColumn]: 2 }]);
      await other.until(() => other.taken.length === count);
    }
    link.onRow((row, queue) => queue.settle(row, SUBMITTED));
    for (const row of link.taken) link.link.putOff(row, 60_000, 'busy');
    const [second] = await reader.insert([same]);
    await link.until(() => link.taken.at(-1)?.id === second, SOON_MS);
  });

  test(named('a row cancelled on its way tells that it went out'), async () => {
    await using reader = await open();
    const link = reader.collect();
    link.onRow(() => {});
    const [id = 0] = await reader.insert([{}]);
    await link.until(() => link.taken.length === 1);
    await reader.db.rows(`update ${table.name} set state = 'cancelled' where id = $1`, [id]);
    for (const row of link.taken) link.link.settle(row, SUBMITTED);
    await reader.db.until(`select from ${table.name} where state = 'submitted'`);
    const row = await reader.row(id);
    assert.equal(row.submission_info, 'cancelled too late, it had been sent');
    assert.equal(row.stanza_id, 'wire-id');
  });

  test(named('a failed, expired or cancelled row goes out when it is queued again'), async () => {
    await using reader = await open();
    const link = reader.collect();
    const failed: Result = { state: 'failed', info: 'no such user', stanzaId: null };
    link.onRow((row, queue) => queue.settle(row, failed));
    const [id = 0] = await reader.insert([{}]);
    const rows = await reader.db.until<Values>(
      `select * from ${table.name} where state = 'failed' and settled`,
    );
    assert.equal(rows.submission_failed, true);
    assert.equal(rows.submission_info, 'no such user');
    link.onRow((row, queue) => queue.settle(row, SUBMITTED));
    const requeue = `update ${table.name} set state = 'queued' where id = $1`;
    await reader.db.rows(requeue, [id]);
    await reader.settled(1);
    const row = await reader.row(id);
    assert.equal(row.state, 'submitted');
    assert.equal(row.submission_failed, false);
    assert.equal(row.submission_info, null);
    await assert.rejects(reader.db.rows(requeue, [id]), /is submitted, it cannot become queued/);
    const [second = 0] = await reader.insert([{ [table.linkColumn]: 2 }]);
    await reader.db.rows(`update ${table.name} set state = 'cancelled' where id = $1`, [second]);
    await reader.db.rows(requeue, [second]);
    const other = reader.collect(2);
    await other.until(() => other.taken.length === 1, SOON_MS);
    assert.deepEqual(idsOf(link.taken), [id, id]);
  });

  test(named('rows without a link are told why they wait, or fail for good'), async () => {
    await using reader = await open();
    reader.describe((linkId) =>
      linkId === 3
        ? { verdict: 'reject', info: 'there is no link 3' }
        : { verdict: 'wait', info: 'it is off' },
    );
    const link = table.linkColumn;
    const [two = 0, three = 0, none = 0] = await reader.insert([
      { [link]: 2 },
      { [link]: 3 },
      { [link]: null },
    ]);
    await reader.settled(1);
    const rejected = await reader.row(three);
    assert.equal(rejected.state, 'failed');
    assert.equal(rejected.submission_info, 'there is no link 3');
    assert.equal(rejected.submission_failed, true);
    await reader.db.until(
      `select from ${table.name} where id = $1 and submission_info = 'it is off'`,
      [two],
    );
    const other = reader.collect(2);
    await reader.setDefault(2);
    await other.until(() => other.taken.length === 2);
    await reader.settled(3);
    assert.equal((await reader.row(none))[link], 2);
    assert.equal((await reader.row(two)).submission_info, null);
  });

  test(named('rows that name no link move with the default one'), async () => {
    await using reader = await open();
    const link = table.linkColumn;
    const [one, two] = [reader.collect(1), reader.collect(2)];
    one.takeAtOnce(0);
    two.takeAtOnce(0);
    await reader.setDefault(1);
    const ids = await reader.insert([{ [link]: null }, { [link]: 1 }, { [link]: null }]);
    await reader.asleep();
    await reader.setDefault(2);
    one.takeAtOnce(10);
    two.takeAtOnce(10);
    await two.until(() => two.taken.length === 2);
    one.pump();
    await one.until(() => one.taken.length === 1);
    await reader.settled(3);
    assert.deepEqual(idsOf(two.taken), [ids[0], ids[2]]);
    assert.deepEqual(idsOf(one.taken), [ids[1]]);
  });

  test(
    named('results wait while the shards are lost, and are written when they are back'),
    async () => {
      await using reader = await open();
      const link = reader.collect();
      link.onRow(() => {});
      const ids = await reader.insert(range(3));
      await link.until(() => link.taken.length === 3);
      await kill(reader, 'control');
      await reader.untilOwned(() => reader.epochs().size === 0);
      for (const row of link.taken) link.link.settle(row, SUBMITTED);
      await reader.settled(3);
      assert.deepEqual(idsOf(link.taken), ids);
    },
  );

  test(named('a result under an epoch that has passed changes nothing'), async () => {
    await using reader = await open();
    const link = reader.collect();
    link.onRow(() => {});
    const [id = 0] = await reader.insert([{}]);
    await link.until(() => link.taken.length === 1);
    await reader.db.rows('update rowgram_shards set epoch = epoch + 1 where shard = 1');
    for (const row of link.taken) link.link.settle(row, SUBMITTED);
    await reader.queue.flushed(SOON_MS);
    const row = await reader.row(id);
    assert.equal(row.state, 'queued');
    assert.equal(row.settled, false);
  });

  for (const purpose of [`queue ${table.name}`, `doorbell ${table.name}`, 'control', 'listen']) {
    test(named(`nothing is lost when the ${purpose} connection is killed`), async () => {
      await using reader = await open();
      const link = reader.collect();
      await concurrently(reader.db, 4, async (client, index) => {
        for (let turn = 0; turn < 60; turn += 1) {
          await reader.insert([{}], client);
          if (index === 0 && turn % 25 === 10) await kill(reader, purpose);
        }
      });
      await reader.settled(240);
      await reader.asleep();
      await kill(reader, purpose);
      await reader.insert(range(10));
      await link.until(() => link.taken.length >= 250, SOON_MS);
      await reader.settled(250);
      const taken = idsOf(link.taken);
      assert.equal(new Set(taken).size, 250);
      assert.equal(taken.length, 250, 'a row was taken twice');
    });
  }
};
