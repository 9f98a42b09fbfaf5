import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAllowances } from '../../src/bytestreams/allowances.ts';

const LIMITS = {
  proxy: null,
  who: '*',
  maxStreams: 2,
  rateLimit: null,
  maxBytes: null,
  maxTimeS: null,
  quotaBytes: null,
  quotaPeriod: null,
};

const at = (time: string) => new Date(`2026-11-21T${time}Z`);

test('streams are counted by user, and one that has ended makes room', () => {
  const allowances = createAllowances();
  allowances.enter('a', LIMITS);
  allowances.enter('a', LIMITS);
  allowances.enter('b', LIMITS);
  assert.throws(() => allowances.enter('a', LIMITS), { condition: 'resource-constraint' });
  assert.equal(allowances.leave('a'), false);
  allowances.enter('a', LIMITS);
  assert.equal(allowances.leave('b'), true);
});

test('a quota is set with the first stream, and anew with each period', () => {
  const allowances = createAllowances();
  const quota = { bytes: 100, period: 'hour', usedBytes: 30 } as const;
  allowances.enter('a', null);
  assert.equal(allowances.open('a', quota, at('08:10:00')), 70);
  allowances.enter('a', null);
  assert.equal(allowances.open('a', { ...quota, usedBytes: 50 }, at('08:20:00')), null);
  assert.deepEqual(allowances.renew(at('08:59:59')), []);
  assert.deepEqual(allowances.renew(at('09:00:00')), [{ user: 'a', bytes: 100 }]);
  assert.deepEqual(allowances.renew(at('09:00:01')), []);
  allowances.leave('a');
  allowances.leave('a');
  assert.deepEqual(allowances.renew(at('10:00:00')), []);
});
