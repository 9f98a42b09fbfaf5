/** No more than so many at a time, in the order in which they came. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLimit } from '../../src/db/limit.ts';

test('two are under way, the others wait their turn, whatever becomes of those before', async () => {
  const limit = createLimit(2);
  const gates = [0, 1, 2, 3].map(() => Promise.withResolvers<number>());
  const begun: number[] = [];
  const results = gates.map((gate, index) =>
    limit(() => {
      begun.push(index);
      return gate.promise;
    }),
  );
  const settle = () => new Promise((done) => setImmediate(done));
  await settle();
  assert.deepEqual(begun, [0, 1]);
  gates[1]?.reject(new Error('broken'));
  await assert.rejects(results[1] ?? Promise.resolve(), /broken/);
  await settle();
  assert.deepEqual(begun, [0, 1, 2]);
  gates[0]?.resolve(0);
  gates[2]?.resolve(2);
  gates[3]?.resolve(3);
  assert.deepEqual(await Promise.all([results[0], results[2], results[3]]), [0, 2, 3]);
  assert.equal(await limit(async () => 'free again'), 'free again');
});
