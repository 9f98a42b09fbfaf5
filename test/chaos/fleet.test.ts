import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findProsody, startProsody } from '../../src/demo/prosody.ts';
import { connectRaw } from '../peers/rawClient.ts';
import { createSink } from '../peers/sink.ts';
import { type DaemonProcess, spawnDaemon } from '../support/daemon.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

const ACCOUNTS = 12;
const skip = findProsody() === null && 'Prosody is not installed';

/** A server with accounts, a far end that counts what arrives, and daemons to come. */
const startFleet = async (count: number) => {
  const dir = await mkdtemp(join(tmpdir(), 'rowgram-fleet-'));
  const names = Array.from({ length: count }, (_, index) => `bot${index}`);
  const passwords = Object.fromEntries([...names, 'far'].map((name) => [name, 'secret']));
  const prosody = await startProsody({ dir, accounts: passwords });
  const db = await testDatabase();
  await db.rows(
    `insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host, srv_port)
    select true, name || '@localhost', 'secret', $1, $2 from unnest($3::text[]) name`,
    [prosody.host, prosody.port, names],
  );
  const far = await connectRaw({ ...prosody, jid: 'far@localhost', password: 'secret' });
  const daemons: DaemonProcess[] = [];
  return {
    db,
    prosody,
    sink: createSink(far),
    daemonLogs: () => daemons.map(({ output }) => output().slice(-4_000)).join('\n'),
    start(environment: Record<string, string> = {}): DaemonProcess {
      const daemon = spawnDaemon(db.address, environment);
      daemons.push(daemon);
      return daemon;
    },
    async [Symbol.asyncDispose]() {
      for (const daemon of daemons) await daemon[Symbol.asyncDispose]();
      far.destroy();
      await prosody.stop();
      await db[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
};

type Fleet = Awaited<ReturnType<typeof startFleet>>;

/** Inserts numbered rows, an account each in turn. @returns their bodies */
const insertRows = async (db: TestDatabase, name: string, count: number): Promise<string[]> => {
  const rows = await db.rows<{ body: string }>(
    `insert into xmpp_tx_queue (account_id, message_to, message_body)
    select 1 + n % (select count(*) from xmpp_accounts), 'far@localhost', $1 || ':' || n
    from generate_series(1, $2::integer) n
    returning message_body as body`,
    [name, count],
  );
  return rows.map(({ body }) => body);
};

const allOnline = ({ db, daemonLogs }: Fleet, count: number) =>
  db
    .until(
      `select from (select count(*) from xmpp_accounts where state = 'online') a where a.count = $1`,
      [count],
      30_000,
    )
    .catch(async (cause: unknown) => {
      const accounts = await db.rows('select id, state, state_info, full_jid from xmpp_accounts');
      const text = `not all are online: ${JSON.stringify(accounts)}\n${daemonLogs()}`;
      throw new Error(text, { cause });
    });

const allSettled = (db: TestDatabase) =>
  db.until(
    'select from (select count(*) from xmpp_tx_queue where not settled) q where q.count = 0',
    [],
    30_000,
  );

const SHARES = `
  select d.pid, count(s.id)::integer as shards
  from rowgram_daemons d
  left join rowgram_shards s on s.daemon_id = d.id and s.gateway = 'xmpp' and s.shard < 64 and exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objid = s.id and l.pid = d.backend
      and l.classid = 'rowgram_shards'::regclass)
  group by d.pid order by shards`;

const untilShares = async (db: TestDatabase, shares: number[]): Promise<void> => {
  await db.until(
    `select from (select array_agg(shards order by shards) as shares from (${SHARES}) d) s
    where s.shares = $1::integer[]`,
    [shares],
    60_000,
  );
};

/** Adds to all that a daemon has logged; waits for the text in it. */
const untilLogged = async (daemon: DaemonProcess, text: string, timeoutMs: number) => {
  const giveUpAt = Date.now() + timeoutMs;
  while (!daemon.output().includes(text)) {
    if (Date.now() > giveUpAt) throw new Error(`no '${text}' in\n${daemon.output()}`);
    await new Promise((done) => setTimeout(done, 20));
  }
};

test('three daemons share 64 shards evenly, and each account is online once', {
  skip,
}, async (t) => {
  await using fleet = await startFleet(ACCOUNTS);
  const { db, sink } = fleet;
  fleet.start();
  await allOnline(fleet, ACCOUNTS);
  const before = await insertRows(db, 'one', 300);
  const startedAt = performance.now();
  fleet.start();
  fleet.start();
  // Rows come in while shards change hands.
  const during: string[] = [];
  const balanced = untilShares(db, [21, 21, 22]);
  let isOver = false;
  const settled = balanced.finally(() => {
    isOver = true;
  });
  settled.catch(() => {});
  for (let turn = 0; !isOver; turn += 1) {
    during.push(...(await insertRows(db, `moving${turn}`, 24)));
    await new Promise((done) => setTimeout(done, 100));
  }
  await settled;
  t.diagnostic(`balanced after ${Math.round(performance.now() - startedAt)} ms`);
  await allOnline(fleet, ACCOUNTS);
  const after = await insertRows(db, 'three', 300);
  await sink.waitFor([...before, ...during, ...after], 30_000);
  await allSettled(db);
  t.diagnostic(`${during.length} rows while shards moved, ${sink.duplicates().length} twice`);
  assert.deepEqual(sink.duplicates(), []);
  const sessions = fleet.prosody.log().match(/c2s\w+.*Authenticated as bot/g) ?? [];
  assert.ok(sessions.length >= ACCOUNTS);
  const holders = await db.rows<{ jids: string }>(
    'select full_jid as jids from xmpp_accounts group by full_jid having count(*) > 1',
  );
  assert.deepEqual(holders, []);
});

test('a standby sends again soon after the owner is killed', { skip }, async (t) => {
  await using fleet = await startFleet(1);
  const { db, sink } = fleet;
  const owner = fleet.start();
  await allOnline(fleet, 1);
  const standby = fleet.start();
  await untilShares(db, [32, 32]);
  // Whichever of the two holds the account is the one to be killed.
  const [holder] = await db.rows<{ pid: number }>(
    `select d.pid from rowgram_shards s join rowgram_daemons d on d.id = s.daemon_id
    where s.gateway = 'xmpp' and s.shard = 1`,
  );
  await allOnline(fleet, 1);
  await sink.waitFor(await insertRows(db, 'before', 10), 10_000);
  const victim = holder?.pid === owner.child.pid ? owner : standby;
  const killedAt = performance.now();
  victim.kill('SIGKILL');
  await sink.waitFor(await insertRows(db, 'after', 10), 15_000);
  const ms = Math.round(performance.now() - killedAt);
  t.diagnostic(`sending again after ${ms} ms`);
  assert.ok(ms < 5_000, `${ms} ms`);
});

test('an owner that was stopped for long sends nothing that it no longer owns, and comes back', {
  skip,
}, async (t) => {
  await using fleet = await startFleet(2);
  const { db, sink } = fleet;
  const owner = fleet.start();
  await allOnline(fleet, 2);
  await sink.waitFor(await insertRows(db, 'before', 10), 10_000);
  // What is acknowledged and not yet settled would rightly be sent again.
  await allSettled(db);
  const stoppedAt = performance.now();
  owner.kill('SIGSTOP');
  const other = fleet.start();
  const during = await insertRows(db, 'during', 50);
  await sink.waitFor(during, 40_000);
  t.diagnostic(`taken over after ${Math.round(performance.now() - stoppedAt)} ms`);
  owner.kill('SIGCONT');
  await untilLogged(owner, 'database lost', 10_000);
  await untilShares(db, [32, 32]);
  await allOnline(fleet, 2);
  const after = await insertRows(db, 'after', 50);
  await sink.waitFor(after, 30_000);
  await allSettled(db);
  assert.deepEqual(sink.duplicates(), [], other.output() + fleet.prosody.log());
});

test('SIGTERM ends with 0 within 6 s, and what was acknowledged is settled', {
  skip,
}, async (t) => {
  await using fleet = await startFleet(3);
  const { db, sink } = fleet;
  const daemon = fleet.start();
  await allOnline(fleet, 3);
  await insertRows(db, 'many', 6_000);
  await db.until(`select from xmpp_tx_queue where state = 'submitted'`);
  const askedAt = performance.now();
  daemon.kill('SIGTERM');
  assert.equal(await daemon.ended, 0, daemon.output());
  const ms = Math.round(performance.now() - askedAt);
  assert.ok(ms < 6_000, `${ms} ms`);
  await new Promise((done) => setTimeout(done, 500));
  const unsettled = await db.rows<{ body: string }>(
    'select message_body as body from xmpp_tx_queue where not settled',
  );
  const arrived = new Set(sink.messages.map(({ body }) => body));
  t.diagnostic(`ended after ${ms} ms, ${arrived.size} rows sent, ${unsettled.length} left`);
  assert.deepEqual(
    unsettled.filter(({ body }) => arrived.has(body)),
    [],
  );
  assert.ok(unsettled.length > 0, 'it was asked to end in the midst of its work');
});

test('a second SIGTERM ends at once', { skip }, async () => {
  await using fleet = await startFleet(1);
  const daemon = fleet.start();
  await allOnline(fleet, 1);
  // The server takes in nothing more, so the goodbye would be waited for.
  fleet.prosody.kill('SIGSTOP');
  await insertRows(fleet.db, 'stuck', 10);
  daemon.kill('SIGTERM');
  await untilLogged(daemon, 'rowgram stops', 5_000);
  const askedAt = performance.now();
  daemon.kill('SIGTERM');
  assert.equal(await daemon.ended, 1);
  assert.ok(performance.now() - askedAt < 1_000);
});

test('thousands of forged notifications neither stop the daemon nor set off a storm', {
  skip,
}, async (t) => {
  await using fleet = await startFleet(2);
  const { db, sink } = fleet;
  const daemon = fleet.start();
  await allOnline(fleet, 2);
  const countCommits = async () => {
    await db.rows('select pg_stat_force_next_flush()');
    const [row] = await db.rows<{ count: number }>(
      `select xact_commit::integer as count from pg_stat_database where datname = current_database()`,
    );
    return row?.count ?? 0;
  };
  const forged = 6_000;
  const before = await countCommits();
  await db.rows(
    `select pg_notify(
      (array['xmpp_tx_queue', 'notify_table_change', 'xmpp_rx_queue', 'xmpp_tx_queue_results'])[1 + n % 4],
      (array['', '1', '64', '-1', 'NaN', '1e99', '{"a":1}', 'xmpp_accounts', 'xmpp_tx_queue',
        '''; drop table xmpp_accounts', repeat('x', 7000)])[1 + n % 11] || case n % 3 when 0 then '' else n::text end)
    from generate_series(1, $1::integer) n`,
    [forged],
  );
  await sink.waitFor(await insertRows(db, 'after', 20), 15_000);
  await new Promise((done) => setTimeout(done, 2_500));
  const commits = (await countCommits()) - before;
  t.diagnostic(`${commits} commits after ${forged} forged notifications`);
  assert.ok(commits < forged / 10, `${commits} commits`);
  assert.equal(daemon.child.exitCode, null);
});
