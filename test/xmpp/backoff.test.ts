/** When an account is tried again, and when it rests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ConfigError, ProtocolError, RejectError } from '../../src/errors.ts';
import { decideRest, isResting } from '../../src/xmpp/backoff.ts';

const NOW = 1_000_000_000;
const FRESH = { failures: 0, conflictMs: 30_000, conflicts: [] };
const conflict = new ProtocolError('replaced by new connection', 'conflict');

test('a refused account rests until its row changes', () => {
  const rest = decideRest(new RejectError('wrong password', 'not-authorized'), FRESH, 0.5, NOW);
  assert.deepEqual(rest, { state: 'refused', info: 'wrong password', afterMs: null });
  assert.equal(isResting(rest), true);
});

test('what a person may mend elsewhere, such as a certificate, is looked at again later', () => {
  const rest = decideRest(new ConfigError('certificate has expired'), FRESH, 0.5, NOW);
  assert.deepEqual(rest, { state: 'refused', info: 'certificate has expired', afterMs: 300_000 });
  assert.equal(isResting(rest), true);
});

test('the wait doubles from half a second to a minute, half of it by chance', () => {
  fc.assert(
    fc.property(fc.nat(10_000), fc.double({ min: 0, max: 1, noNaN: true }), (failures, random) => {
      const rest = decideRest(
        new Error('gone'),
        { failures, conflictMs: 30_000, conflicts: [] },
        random,
        NOW,
      );
      const longest = Math.min(60_000, 500 * 2 ** failures);
      assert.equal(rest.state, 'backoff');
      assert.equal(isResting(rest), false);
      assert.ok(rest.afterMs !== null);
      assert.ok(rest.afterMs >= longest / 2 - 1 && rest.afterMs <= longest + 1, `${rest.afterMs}`);
    }),
  );
});

test('who lost the resource to another client waits half a minute and longer', () => {
  const rest = decideRest(conflict, { failures: 0, conflictMs: 30_000, conflicts: [NOW] }, 1, NOW);
  assert.deepEqual(rest, { state: 'conflict', info: conflict.message, afterMs: 30_500 });
  assert.equal(isResting(rest), false);
});

test('the third conflict within ten minutes parks the account, an older one does not count', () => {
  const parked = { failures: 2, conflictMs: 30_000, conflicts: [NOW - 599_999, NOW - 10, NOW] };
  const rest = decideRest(conflict, parked, 0, NOW);
  assert.equal(rest.state, 'conflict');
  assert.equal(rest.afterMs, null);
  assert.match(rest.info, /another client keeps taking the resource/);
  assert.equal(isResting(rest), true);
  const older = { failures: 2, conflictMs: 30_000, conflicts: [NOW - 600_000, NOW - 10, NOW] };
  assert.notEqual(decideRest(conflict, older, 0, NOW).afterMs, null);
});

test('resource-constraint asks for more patience than a lost connection (RFC 6120 §4.9.3.17)', () => {
  const error = new ProtocolError('too many sessions', 'resource-constraint');
  const rest = decideRest(error, FRESH, 0, NOW);
  assert.deepEqual(rest, { state: 'backoff', info: 'too many sessions', afterMs: 30_250 });
});

test('no rest is no resting', () => {
  assert.equal(isResting(null), false);
});
