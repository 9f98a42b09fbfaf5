import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBucket } from '../../../src/bytestreams/relay/bucket.ts';

test('over ten seconds the rate holds within 10 %, whatever the sizes of reads', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 10_000, max: 1_000_000_000 }),
      fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 20 }),
      (rate, shares) => {
        const bucket = createBucket(rate, 0);
        let [nowMs, bytes] = [0, 0];
        for (let i = 0; nowMs < 10_000; i += 1) {
          const size = Math.ceil((bucket.readBytes() * (shares[i % shares.length] ?? 1)) / 100);
          bytes += size;
          nowMs += bucket.take(size, nowMs);
        }
        assert.ok(Math.abs(bytes / rate / 10 - 1) < 0.1, `${bytes} at ${rate}`);
      },
    ),
    { numRuns: 30 },
  );
});

test('without a rate nothing waits, and a new rate forgets what was owed', () => {
  const bucket = createBucket(null, 0);
  assert.equal(bucket.take(1e12, 0), 0);
  bucket.setRate(1_000, 0);
  assert.equal(bucket.take(1_000, 0), 1_000);
  bucket.setRate(1_000_000, 0);
  assert.ok(bucket.take(1_000, 0) <= 1);
});
