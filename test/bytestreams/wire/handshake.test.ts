import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createHandshake, type HandshakeStep } from '../../../src/bytestreams/wire/handshake.ts';

const HASH = '972b7bf47291ca609517f67f86b5081086052dad';
const GREETING = Buffer.from('050100', 'hex');
const REQUEST = Buffer.concat([Buffer.of(5, 1, 0, 3, 40), Buffer.from(HASH), Buffer.alloc(2)]);

/** Pushes the pieces until the handshake ends; all that is to be sent, and the last step. */
const run = (pieces: Buffer[]): { sent: string; last: HandshakeStep | null } => {
  const handshake = createHandshake();
  const sent: Buffer[] = [];
  let last: HandshakeStep | null = null;
  for (const piece of pieces) {
    last = handshake.push(piece);
    if (last.send) sent.push(last.send);
    if (last.type !== 'waiting') break;
  }
  return { sent: Buffer.concat(sent).toString('hex'), last };
};

const requireAsked = (step: HandshakeStep | null) => {
  assert.equal(step?.type, 'asked');
  return step as HandshakeStep & { type: 'asked' }; // as just asserted
};

test('greeting and request are understood however they are cut or joined', () => {
  const whole = Buffer.concat([GREETING, REQUEST]);
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(whole.length), { maxLength: whole.length }), (cuts) => {
      const places = [0, ...cuts.toSorted((a, b) => a - b), whole.length];
      const pieces = places.slice(1).map((end, at) => whole.subarray(places[at], end));
      const { sent, last } = run(pieces);
      assert.equal(sent, '0500');
      const asked = requireAsked(last);
      assert.equal(asked.hash, HASH);
      assert.equal(asked.rest.length, 0);
    }),
  );
});

test('what comes behind the request is kept', () => {
  const { last } = run([Buffer.concat([GREETING, REQUEST, Buffer.from('data')])]);
  const asked = requireAsked(last);
  assert.equal(asked.rest.toString(), 'data');
  assert.deepEqual(asked.reply(2), Buffer.concat([Buffer.of(5, 2), REQUEST.subarray(2)]));
});

test('a client that wants to authenticate is told that it cannot (RFC 1928 §3)', () => {
  assert.deepEqual(run([Buffer.of(5, 1, 2)]).sent, '05ff');
  assert.deepEqual(run([Buffer.of(5, 0)]).sent, '05ff');
});

test('a refusal tells why, even when all came at once', () => {
  const { sent, last } = run([
    Buffer.concat([GREETING, Buffer.from('05020001010203040050', 'hex')]),
  ]);
  assert.equal(last?.type, 'refused');
  assert.equal(sent, '0500' + '05070001010203040050');
});

test('what is not SOCKS5 is left without an answer', () => {
  for (const text of ['GET / HTTP/1.1\r\n\r\n', '\x04\x01', '\0']) {
    assert.deepEqual(run([Buffer.from(text, 'latin1')]).last, { type: 'refused', send: null });
  }
  assert.deepEqual(run([GREETING, Buffer.of(4)]).last, { type: 'refused', send: null });
});

test('noise never asks for more than 262 bytes of a request', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 261, maxLength: 600 }), (noise) => {
      const step = createHandshake().push(Buffer.concat([GREETING, Buffer.of(5), noise]));
      assert.notEqual(step.type, 'waiting');
    }),
  );
});
