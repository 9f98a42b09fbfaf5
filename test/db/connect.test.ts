/** The pool while the database lets nobody in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'slonik';
import { z } from 'zod';
import { createDatabasePool } from '../../src/db/connect.ts';
import { testDatabase, withoutDatabase } from '../support/database.ts';

test('every query of many ends when no connection can be made, and all work again after', async () => {
  await using db = await testDatabase();
  const pool = await createDatabasePool(db.address);
  const ask = () => pool.oneFirst(sql.type(z.object({ one: z.number() }))`select 1 as one`);
  assert.equal(await ask(), 1);
  await withoutDatabase(db, async () => {
    for (let round = 0; round < 3; round += 1) {
      const answers = await Promise.allSettled(Array.from({ length: 20 }, ask));
      assert.ok(answers.every(({ status }) => status === 'rejected'));
    }
  });
  assert.deepEqual(await Promise.all(Array.from({ length: 20 }, ask)), Array(20).fill(1));
  await pool.end();
});
