/** Daemons share the shards evenly, and one that is gone leaves its own to the others. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import fc from 'fast-check';
import { connect } from '../../src/db/connect.ts';
import { createOwnership, DEFAULT_SHARD, fairShare, shardOf } from '../../src/db/ownership.ts';
import { createLog } from '../../src/log.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';

const GATEWAY = 'xmpp';

/** A daemon's ownership, and what it was told. */
const openOwnership = ({ address }: TestDatabase) => {
  const log = createLog(process.env.LOG_LEVEL || 'silent', 2);
  const ownership = createOwnership({ address, version: 'test', log });
  const changes = new EventEmitter();
  const released: number[] = [];
  let defaultId: number | null = null;
  const epochs = () => ownership.epochs(GATEWAY);
  const own = () => [...epochs().keys()].filter((shard) => shard !== DEFAULT_SHARD);
  ownership.start([
    {
      gateway: GATEWAY,
      defaultLinkShard: () => (defaultId === null ? null : shardOf(defaultId)),
      async release(shard) {
        assert.equal(epochs().has(shard), true, 'its last results are written under its epoch');
        released.push(shard);
      },
      onChange: () => changes.emit('change'),
    },
  ]);
  return {
    ownership,
    released,
    epochs,
    own,
    setDefault(id: number | null) {
      defaultId = id;
      ownership.poke();
    },
    async until(isTrue: () => boolean) {
      const signal = AbortSignal.timeout(60_000);
      while (!isTrue()) await once(changes, 'change', { signal });
    },
    [Symbol.asyncDispose]: () => ownership.close(),
  };
};

test('the fair shares of any number of daemons are all the shards, no two far apart', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), (daemons) => {
      const shares = Array.from({ length: daemons }, (_, place) => fairShare(place, daemons));
      assert.equal(
        shares.reduce((sum, share) => sum + share, 0),
        64,
      );
      assert.ok(Math.max(...shares) - Math.min(...shares) <= 1);
    }),
  );
});

test('a link has a shard as the database counts it', async () => {
  await using db = await testDatabase();
  const linkIds = [0, 1, 63, 64, 65, 127, 1_000_003, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER, -1, -64];
  const rows = await db.rows<{ shard: number }>(
    'select (id & 63)::integer as shard from unnest($1::bigint[]) with ordinality as l (id, n) order by n',
    [linkIds],
  );
  assert.deepEqual(
    linkIds.map(shardOf),
    rows.map(({ shard }) => shard),
  );
  assert.equal(shardOf(null), DEFAULT_SHARD);
});

test('a lone daemon takes all, and the default shard when it has the default link', async () => {
  await using db = await testDatabase();
  await using one = openOwnership(db);
  await one.until(() => one.own().length === 64);
  assert.equal(one.ownership.isFresh(), true);
  assert.equal(one.epochs().has(DEFAULT_SHARD), false);
  one.setDefault(7);
  await one.until(() => one.epochs().has(DEFAULT_SHARD));
  one.setDefault(null);
  await one.until(() => !one.epochs().has(DEFAULT_SHARD));
  assert.deepEqual(one.released, [DEFAULT_SHARD]);
});

test('a second daemon gets half, shard by shard, and all when the first one leaves', async () => {
  await using db = await testDatabase();
  const one = openOwnership(db);
  await one.until(() => one.own().length === 64);
  await using two = openOwnership(db);
  await Promise.all([
    one.until(() => one.own().length === 32),
    two.until(() => two.own().length === 32),
  ]);
  assert.equal(new Set([...one.own(), ...two.own()]).size, 64);
  assert.equal(one.released.length, 32);
  assert.deepEqual(
    one.released.toSorted((a, b) => a - b),
    two.own().sort((a, b) => a - b),
  );
  const rows = await db.rows<{ shards: number }>(
    `select count(*)::integer as shards from rowgram_shards s join rowgram_daemons d
    on d.id = s.daemon_id where shard < 64 group by d.id`,
  );
  assert.deepEqual(rows, [{ shards: 32 }, { shards: 32 }]);
  await one[Symbol.asyncDispose]();
  await two.until(() => two.own().length === 64);
  assert.deepEqual((await db.rows('select from rowgram_daemons')).length, 1);
});

test('three daemons that start at once share evenly, and no shard has two owners', async () => {
  await using db = await testDatabase();
  await using one = openOwnership(db);
  await using two = openOwnership(db);
  await using three = openOwnership(db);
  const all = [one, two, three];
  const shares = () => all.map((daemon) => daemon.own().length).sort();
  const isEven = () => shares().join() === '21,21,22';
  await Promise.race(all.map((daemon) => daemon.until(isEven)));
  assert.equal(new Set(all.flatMap((daemon) => daemon.own())).size, 64);
});

test('who loses the control connection holds nothing at once, and comes back with new epochs', async () => {
  await using db = await testDatabase();
  await using one = openOwnership(db);
  await one.until(() => one.own().length === 64);
  const before = new Map(one.epochs());
  const lost = one.until(() => one.own().length === 0);
  await db.rows(`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'rowgram control' and datname = current_database()`);
  await lost;
  assert.equal(one.ownership.isFresh(), false);
  await one.until(() => one.own().length === 64);
  for (const [shard, epoch] of one.epochs()) assert.ok(epoch > (before.get(shard) ?? 0));
  assert.equal((await db.rows('select from rowgram_daemons')).length, 1);
  assert.deepEqual(one.released, []);
});

test('a daemon that has been silent for ten seconds is ended, and its shards are taken', async () => {
  await using db = await testDatabase();
  const first = openOwnership(db);
  await first.until(() => first.own().length === 64);
  await first[Symbol.asyncDispose]();
  const silent = await connect(db.address, 'silent');
  const ended = new Promise<void>((done) => silent.once('end', done));
  await silent.query(`
    insert into rowgram_daemons (host, pid, version, gateways, backend, seen_at)
    values ('h', 1, 'v', '{${GATEWAY}}', pg_backend_pid(), now() - interval '11 seconds')
    returning pg_advisory_lock('rowgram_daemons'::regclass::oid::integer, id)`);
  await silent.query(`
    select pg_advisory_lock('rowgram_shards'::regclass::oid::integer, id) from rowgram_shards`);
  await using one = openOwnership(db);
  await ended;
  await one.until(() => one.own().length === 64);
  await db.until('select from rowgram_daemons having count(*) = 1');
});

test('an ownership that is closed leaves no lock and no row', async () => {
  await using db = await testDatabase();
  const one = openOwnership(db);
  await one.until(() => one.own().length === 64);
  await one[Symbol.asyncDispose]();
  assert.deepEqual(await db.rows('select from rowgram_daemons'), []);
  await db.until(`select where not exists (select from pg_locks where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database()))`);
});
