import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AccountState } from '../../src/accounts/store.ts';
import { createStates } from '../../src/db/states.ts';
import { createLog } from '../../src/log.ts';

const stateOf = (accountId: number, state: AccountState['state']): AccountState => ({
  accountId,
  state,
  info: null,
  afterMs: null,
  fullJid: null,
});

/** Holds each write until the test lets it end. */
const openWriter = () => {
  const begun: { states: string[]; end(error?: Error): void }[] = [];
  let arrived = Promise.withResolvers<void>();
  const states = createStates(
    ({ accountId }: AccountState) => accountId,
    (batch) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const words = batch.map(({ accountId, state }) => `${accountId} ${state}`);
      begun.push({ states: words, end: (error) => (error ? reject(error) : resolve()) });
      arrived.resolve();
      return promise;
    },
    createLog('silent', 2),
  );
  const write = async (count: number) => {
    while (begun.length < count) {
      arrived = Promise.withResolvers();
      await arrived.promise;
    }
    const last = begun[count - 1];
    assert.ok(last);
    return last;
  };
  return { states, begun, write };
};

test('a state is not written while an earlier one is under way', async () => {
  const { states, begun, write } = openWriter();
  states.report(stateOf(1, 'connecting'));
  const first = await write(1);
  states.report(stateOf(1, 'online'));
  const flushed = states.flushed();
  await new Promise((done) => setImmediate(done));
  assert.equal(begun.length, 1);
  first.end();
  const second = await write(2);
  assert.deepEqual([first.states, second.states], [['1 connecting'], ['1 online']]);
  second.end();
  await flushed;
});

test('the last state of each account is written, all at once', async () => {
  const { states, write } = openWriter();
  states.report(stateOf(1, 'connecting'));
  states.report(stateOf(2, 'connecting'));
  states.report(stateOf(1, 'online'));
  assert.deepEqual((await write(1)).states, ['1 online', '2 connecting']);
});

test('what could not be written is tried again, under what has been said meanwhile', async () => {
  const { states, write } = openWriter();
  states.report(stateOf(1, 'connecting'));
  states.report(stateOf(2, 'connecting'));
  const first = await write(1);
  states.report(stateOf(2, 'backoff'));
  first.end(new Error('the database is away'));
  const second = await write(2);
  assert.deepEqual(second.states, ['1 connecting', '2 backoff']);
});

test('what is forgotten is not written', async () => {
  const { states, begun, write } = openWriter();
  states.report(stateOf(1, 'online'));
  states.clear();
  await states.flushed();
  assert.equal(begun.length, 0);
  states.report(stateOf(2, 'online'));
  assert.deepEqual((await write(1)).states, ['2 online']);
});
