/** The counters of stream management. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createOutboundCounter, nextCount } from '../../src/xmpp/streamManagement.ts';

const MODULUS = 2 ** 32;

test('counts begin anew after 2^32 - 1 (XEP-0198 §4)', () => {
  assert.equal(nextCount(0), 1);
  assert.equal(nextCount(MODULUS - 1), 0);
  const counter = createOutboundCounter(MODULUS - 2);
  counter.count(5);
  assert.equal(counter.sent(), 3);
  assert.equal(counter.unacknowledged(), 5);
  assert.equal(counter.acknowledge(MODULUS - 1), 1);
  assert.equal(counter.acknowledge(1), 2);
  assert.equal(counter.acknowledge(3), 2);
  assert.equal(counter.unacknowledged(), 0);
});

test('acknowledged in any portions, all that was sent is acknowledged once', () => {
  const starts = fc.oneof(fc.nat(100), fc.integer({ min: MODULUS - 100, max: MODULUS - 1 }));
  fc.assert(
    fc.property(starts, fc.array(fc.nat(50), { maxLength: 20 }), (start, portions) => {
      const counter = createOutboundCounter(start);
      let h = start;
      for (const portion of portions) {
        counter.count(portion);
        h = (h + portion) % MODULUS;
        assert.equal(counter.acknowledge(h), portion);
        assert.equal(counter.acknowledge(h), 0);
      }
      assert.equal(counter.unacknowledged(), 0);
    }),
  );
});

test('a peer that claims more than was sent, less than before or no number is not believed', () => {
  const counter = createOutboundCounter();
  counter.count(10);
  assert.equal(counter.acknowledge(4), 4);
  for (const h of [3, 0, -1, 1.5, Number.NaN, MODULUS, Number.POSITIVE_INFINITY]) {
    assert.equal(counter.acknowledge(h), 0, `${h}`);
  }
  assert.equal(counter.unacknowledged(), 6);
});
