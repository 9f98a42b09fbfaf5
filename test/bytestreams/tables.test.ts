/** What the proxy writes and reads, and what an operator does with it. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  logCrashed,
  selectUsedBytes,
  selectWanted,
  writeStreams,
} from '../../src/bytestreams/store.ts';
import { createDatabasePool } from '../../src/db/connect.ts';
import { testDatabase } from '../support/database.ts';
import { instance, PROXY, record } from '../support/streamRecord.ts';

const open = async () => {
  const db = await testDatabase();
  const pool = await createDatabasePool(db.address);
  const used = async () => {
    const [row] = await db.rows<{ streams: number; up: number; down: number }>(
      `select sum(streams)::int as streams, sum(bytes_up)::int as up, sum(bytes_down)::int as down
      from bytestream_usage`,
    );
    return row;
  };
  return {
    db,
    pool,
    used,
    async [Symbol.asyncDispose]() {
      await pool.end();
      await db[Symbol.asyncDispose]();
    },
  };
};

const ended = { ended_at: new Date().toISOString(), reason: 'eof' } as const;

test('what is written twice counts once, while it is active and after its end', async () => {
  await using scene = await open();
  const { db, pool, used } = scene;
  const stream = record();
  const states = [
    { bytes_up: 5 },
    { bytes_up: 5 },
    { bytes_up: 12, bytes_down: 1 },
    { bytes_up: 12, bytes_down: 1 },
    { bytes_up: 20, bytes_down: 2, ...ended },
    { bytes_up: 20, bytes_down: 2, ...ended },
  ];
  for (const state of states) await writeStreams(pool, [{ ...stream, ...state }, record(ended)]);
  assert.deepEqual(await used(), { streams: 1 + states.length, up: 20, down: 2 });
  assert.deepEqual(await db.rows('select from bytestream_streams'), []);
  const [row] = await db.rows('select bytes_up, reason from bytestream_log where id = $1', [
    stream.id,
  ]);
  assert.deepEqual(row, { bytes_up: 20, reason: 'eof' });
  const since = new Date(Date.now() - 7_200_000);
  assert.equal(await selectUsedBytes(pool, { proxy: PROXY, jid: 'a@example.org', since }), 22);
});

test('a stream that is deleted is logged as killed at once, and its last bytes are added', async () => {
  await using scene = await open();
  const { db, pool, used } = scene;
  const stream = record({ bytes_up: 10 });
  await writeStreams(pool, [stream]);
  await db.rows('delete from bytestream_streams');
  const select = 'select bytes_up, reason from bytestream_log';
  assert.deepEqual(await db.rows(select), [{ bytes_up: 10, reason: 'killed' }]);
  assert.deepEqual(await selectWanted(pool, instance), []);
  // Still counted until the daemon has heard of it.
  await writeStreams(pool, [{ ...stream, bytes_up: 12 }]);
  assert.deepEqual(await db.rows('select from bytestream_streams'), []);
  await writeStreams(pool, [{ ...stream, bytes_up: 15, ...ended, reason: 'killed' }]);
  assert.deepEqual(await db.rows(select), [{ bytes_up: 15, reason: 'killed' }]);
  assert.deepEqual(await used(), { streams: 1, up: 15, down: 0 });
});

test('what another run left is logged as crashed, and corrected if that run has more to say', async () => {
  await using scene = await open();
  const { db, pool, used } = scene;
  const [ours, other] = [record({ bytes_up: 1 }), record({ bytes_up: 2, instance: randomUUID() })];
  await writeStreams(pool, [ours, other]);
  await logCrashed(pool, [PROXY], instance);
  const select = 'select bytes_up, reason from bytestream_log';
  assert.deepEqual(await db.rows(select), [{ bytes_up: 2, reason: 'crash' }]);
  assert.deepEqual(await selectWanted(pool, instance), [{ id: ours.id, rateLimit: null }]);
  await writeStreams(pool, [{ ...other, bytes_up: 7, ...ended }]);
  assert.deepEqual(await db.rows(select), [{ bytes_up: 7, reason: 'eof' }]);
  assert.deepEqual(await used(), { streams: 2, up: 8, down: 0 });
});

test("the daemon's own counting and closing tells nobody, an operator's change does", async () => {
  await using scene = await open();
  const { db, pool } = scene;
  const told: string[] = [];
  db.client.on('notification', ({ payload = '' }) => told.push(payload));
  await db.rows('listen notify_table_change');
  const streams = [record(), record()];
  await writeStreams(pool, streams);
  await writeStreams(
    pool,
    streams.slice(1).map((stream) => ({ ...stream, ...ended })),
  );
  await db.rows('select');
  assert.deepEqual(told, []);
  await db.rows('update bytestream_streams set rate_limit = 1000');
  await db.rows('delete from bytestream_streams');
  assert.deepEqual(told, ['bytestream_streams', 'bytestream_streams']);
});

test('rows that cannot be meant are refused', async () => {
  await using scene = await open();
  const refused = [
    "insert into bytestream_acl (role, who, action) values ('ip', 'example.org', 'deny')",
    "insert into bytestream_acl (role, who, action) values ('requester', 'a b@example.org', 'deny')",
    "insert into bytestream_acl (role, who, action) values ('requester', 'a@*.org', 'deny')",
    "insert into bytestream_limits (who, quota_bytes) values ('*', 1)",
    "insert into bytestream_limits (who, rate_limit) values ('*', 0)",
    "insert into bytestream_streamhosts (proxy, bind_address) values ('p', '192.0.2.0/24')",
    "insert into bytestream_streamhosts (proxy, port) values ('p', 70000)",
  ];
  for (const text of refused) {
    await assert.rejects(
      scene.db.rows(text),
      (error: { code?: string }) => {
        return error.code === '23514' || error.code === '22P02';
      },
      text,
    );
  }
});

test('the SQL of the README works as it stands', async () => {
  await using scene = await open();
  const text = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const section = text.split('\n## ').find((part) => part.startsWith('Bytestreams\n')) ?? '';
  const blocks = [...section.matchAll(/```sql\n([\s\S]*?)```/g)];
  assert.equal(blocks.length, 2);
  for (const [, block = ''] of blocks) await scene.db.rows(block);
  const [limits] = await scene.db.rows('select rate_limit, quota_bytes from bytestream_limits');
  assert.deepEqual(limits, { rate_limit: 1_250_000, quota_bytes: 50_000_000_000 });
});
