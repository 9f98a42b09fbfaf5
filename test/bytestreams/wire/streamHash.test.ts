import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashStream, streamHashes } from '../../../src/bytestreams/wire/streamHash.ts';

test('the hash is SHA-1 over id, requester and target (XEP-0065 §5.3.2)', () => {
  // printf 'vxf9n471bn46requester@example.com/footarget@example.org/bar' | sha1sum
  assert.equal(
    hashStream('vxf9n471bn46', 'requester@example.com/foo', 'target@example.org/bar'),
    '98b8d688d0f5d895fd41c5e7309a2e9e33ba32ff',
  );
});

test('what either end may have hashed is told, the normalised form first, each once', () => {
  const requester = { received: 'a@x/r', normalised: 'a@x/r' };
  assert.deepEqual(streamHashes('s', requester, { received: 'B@Y/r', normalised: 'b@y/r' }), [
    hashStream('s', 'a@x/r', 'b@y/r'),
    hashStream('s', 'a@x/r', 'B@Y/r'),
  ]);
  assert.deepEqual(streamHashes('s', requester, requester), [hashStream('s', 'a@x/r', 'a@x/r')]);
});
