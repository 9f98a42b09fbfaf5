import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRepeat } from '../../src/accounts/repeat.ts';
import { silentLog } from '../support/silentLog.ts';

/** Work that ends when the test says so. */
const openWork = () => {
  const runs: PromiseWithResolvers<void>[] = [];
  const { ask } = createRepeat(() => {
    const run = Promise.withResolvers<void>();
    runs.push(run);
    return run.promise;
  }, silentLog);
  return { runs, ask };
};

const settled = () => new Promise((done) => setImmediate(done));

test('work that is asked for meanwhile is done once more, after that which is under way', async () => {
  const { runs, ask } = openWork();
  ask();
  ask();
  ask();
  assert.equal(runs.length, 1);
  runs[0]?.resolve();
  await settled();
  assert.equal(runs.length, 2);
  runs[1]?.resolve();
  await settled();
  assert.equal(runs.length, 2);
});

test('work that fails is done again when it is asked for', async () => {
  const { runs, ask } = openWork();
  ask();
  runs[0]?.reject(new Error('not now'));
  await settled();
  assert.equal(runs.length, 1);
  ask();
  assert.equal(runs.length, 2);
});
