import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseVerdict, requireActivated, requireRoom } from '../../src/bytestreams/activation.ts';

const NO_LIMITS = {
  proxy: null,
  who: '*',
  maxStreams: null,
  rateLimit: null,
  maxBytes: null,
  maxTimeS: null,
  quotaBytes: null,
  quotaPeriod: null,
};

test('each verdict has its error (XEP-0065 §6.3.5)', () => {
  const conditions = [
    ['unknown', 'item-not-found'],
    ['one leg', 'not-allowed'],
    ['active', 'conflict'],
    ['denied', 'forbidden'],
  ] as const;
  for (const [type, condition] of conditions) {
    assert.throws(() => requireActivated({ type }), { condition });
  }
  const activated = { type: 'activated', hash: '', requester: '', target: '' } as const;
  assert.equal(requireActivated(activated), activated);
});

test('of several listeners the one with the stream speaks', () => {
  assert.equal(chooseVerdict([]).type, 'unknown');
  assert.equal(chooseVerdict([{ type: 'unknown' }, { type: 'one leg' }]).type, 'one leg');
  assert.equal(chooseVerdict([{ type: 'active' }, { type: 'unknown' }]).type, 'active');
});

test('who has as many streams or bytes as are due gets no more', () => {
  const refused = { condition: 'resource-constraint' };
  requireRoom(null, { streams: 1e6, usedBytes: 1e15 });
  requireRoom({ ...NO_LIMITS, maxStreams: 2, quotaBytes: 10 }, { streams: 1, usedBytes: 9 });
  assert.throws(
    () => requireRoom({ ...NO_LIMITS, maxStreams: 2 }, { streams: 2, usedBytes: 0 }),
    refused,
  );
  assert.throws(
    () => requireRoom({ ...NO_LIMITS, quotaBytes: 10 }, { streams: 0, usedBytes: 10 }),
    refused,
  );
});
