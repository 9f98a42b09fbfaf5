import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  insertReceived,
  type Received,
  selectOwned,
} from '../../../src/accounts/received/store.ts';
import { connect } from '../../../src/db/connect.ts';
import { testDatabase } from '../../support/database.ts';

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

test('of copies of a message one becomes a row', async () => {
  await using db = await testDatabase();
  const late = { delayedAt: new Date(Date.now() - 60_000) };
  const message = (change: Partial<Received>): Received => ({
    accountId: 1,
    ownJid: 'me@a.test',
    stanza: '<message/>',
    from: 'bob@b.test/phone',
    to: null,
    subject: null,
    body: 'hello',
    type: 'chat',
    id: 'i1',
    originId: null,
    archiveId: null,
    thread: null,
    lang: null,
    delayedAt: null,
    errorCondition: null,
    content: null,
    carbon: null,
    ...change,
  });
  const cases: [rows: number, first: Partial<Received>, second: Partial<Received>][] = [
    [1, { archiveId: 'a1' }, { archiveId: 'a1', id: 'i2' }],
    [1, { archiveId: 'a1' }, { archiveId: 'a1', from: 'bob@b.test/desk' }],
    [2, { archiveId: 'a1' }, { archiveId: 'a1', from: 'room@b.test/bob', id: 'i2' }],
    // Not acknowledged in time, the server sends it once more.
    [1, {}, late],
    [1, { id: 'i'.repeat(5_000) }, { ...late, id: 'i'.repeat(5_000) }],
    [1, { body: null }, { ...late, body: null }],
    // The offline store does not say what the archive says.
    [1, { ...late, archiveId: 'a1' }, late],
    [1, late, { ...late, archiveId: 'a1' }],
    [2, { ...late, archiveId: 'a1' }, { ...late, archiveId: 'a2' }],
    [2, {}, {}],
    [2, { id: null }, { ...late, id: null }],
    [2, {}, { ...late, body: 'hello!' }],
    [2, {}, { ...late, from: 'bob@b.test/desk' }],
    [2, {}, { ...late, id: 'i2' }],
    [2, {}, { ...late, accountId: 2 }],
  ];
  for (const [rows, first, second] of cases) {
    const batches = [[[message(first), message(second)]], [[message(first)], [message(second)]]];
    for (const batch of batches) {
      await db.rows('delete from xmpp_rx_queue');
      for (const messages of batch) await insertReceived(db.client, messages);
      const found = await db.rows('select from xmpp_rx_queue');
      assert.equal(found.length, rows, JSON.stringify([first, second, batch.length]));
    }
  }
  // What was held back long after the other had come is said again.
  await db.rows("update xmpp_rx_queue set insert_timestamp = now() - interval '1 hour'");
  await insertReceived(db.client, [message({ ...late, accountId: 2 })]);
  assert.equal((await db.rows('select from xmpp_rx_queue')).length, 3);
});
