import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLedger } from '../../src/bytestreams/ledger.ts';
import { createDatabasePool } from '../../src/db/connect.ts';
import { createLog } from '../../src/log.ts';
import { testDatabase } from '../support/database.ts';
import { record } from '../support/streamRecord.ts';

test('a stream that the database refuses keeps no other from being written, and is tried again', async () => {
  await using db = await testDatabase();
  const pool = await createDatabasePool(db.address);
  const ledger = createLedger(pool, createLog('silent'), 500);
  await db.rows(`
    create function refuse() returns trigger language plpgsql as $$
    begin
      if new.sid = 'bad' then raise exception 'not this one'; end if;
      return new;
    end $$;
    create trigger refuse before insert on bytestream_streams for each row execute function refuse()`);
  const [bad, good] = [record({ sid: 'bad' }), record({ sid: 'good' })];
  ledger.open(bad);
  ledger.open(good);
  await db.until("select from bytestream_streams where sid = 'good'");
  assert.deepEqual(ledger.written(), [good.id]);
  const lastByteAtMs = Date.now();
  assert.equal(ledger.count({ id: bad.id, up: 7, down: 0, lastByteAtMs }), 7);
  assert.equal(ledger.unwrittenBytes(bad.proxy, bad.jid), 7);
  await db.rows('drop trigger refuse on bytestream_streams');
  await db.until("select from bytestream_streams where sid = 'bad' and bytes_up = 7");
  assert.equal(ledger.end({ id: bad.id, up: 9, down: 1, lastByteAtMs }, 'eof'), 3);
  await ledger.close();
  assert.deepEqual(await db.rows('select sid, bytes_up, bytes_down from bytestream_log'), [
    { sid: 'bad', bytes_up: 9, bytes_down: 1 },
  ]);
  assert.equal(ledger.find(bad.id), undefined);
  await pool.end();
});
