/** Messages that come twice, told without archive ids. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTwins } from '../../../src/accounts/archive/twins.ts';

const told = (change: Partial<Parameters<ReturnType<typeof createTwins>['add']>[0]> = {}) => ({
  from: 'bob@b.test/a',
  id: 'i1',
  originId: null,
  body: 'hello',
  ...change,
});

test('a message is a twin of one that was added, once for each time', () => {
  const twins = createTwins();
  assert.equal(twins.take(told()), false);
  twins.add(told());
  twins.add(told());
  assert.deepEqual(
    [twins.take(told()), twins.take(told()), twins.take(told())],
    [true, true, false],
  );
});

test('what differs in sender, id or text is no twin', () => {
  const others = [
    { from: 'bob@b.test/b' },
    { from: null },
    { id: 'i2' },
    { originId: 'o1' },
    { body: 'hello!' },
    { body: null },
  ];
  for (const change of others) {
    const twins = createTwins();
    twins.add(told());
    assert.equal(twins.take(told(change)), false, JSON.stringify(change));
  }
});

test('the origin id goes before the id, which a server may have changed', () => {
  const twins = createTwins();
  twins.add(told({ originId: 'o1', id: 'i1' }));
  assert.equal(twins.take(told({ originId: 'o1', id: 'i2' })), true);
});

test('without an id two messages alike are two', () => {
  const twins = createTwins();
  twins.add(told({ id: null }));
  assert.equal(twins.take(told({ id: null })), false);
});

test('what is beyond its memory, and what was forgotten, is no twin', () => {
  const twins = createTwins();
  for (let n = 0; n <= 10_000; n += 1) twins.add(told({ id: `${n}` }));
  assert.deepEqual([twins.take(told({ id: '0' })), twins.take(told({ id: '1' }))], [false, true]);
  twins.clear();
  assert.equal(twins.take(told({ id: '2' })), false);
});
