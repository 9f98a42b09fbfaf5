import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selectOwned } from '../../src/accounts/store.ts';
import { connect } from '../../src/db/connect.ts';
import { testDatabase } from '../support/database.ts';

test('a shard is not taken while received messages are written under its epoch', async () => {
  await using db = await testDatabase();
  await db.rows(
    `insert into rowgram_shards (gateway, shard, epoch) values ('xmpp', 1, 7), ('xmpp', 2, 7)`,
  );
  const [writer, taker] = [await connect(db.address, 'a'), await connect(db.address, 'b')];
  const take = (shard: number) =>
    taker.query('update rowgram_shards set epoch = epoch + 1 where shard = $1', [shard]);
  await taker.query(`set lock_timeout = '100ms'`);
  await writer.query('begin');
  assert.deepEqual(await selectOwned(writer, new Map([[1, 7]])), new Set([1]));
  await assert.rejects(take(1), { code: '55P03' });
  await take(2);
  await writer.query('commit');
  await take(1);
  assert.deepEqual(await selectOwned(writer, new Map([[1, 7]])), new Set());
  await Promise.all([writer.end(), taker.end()]);
});
