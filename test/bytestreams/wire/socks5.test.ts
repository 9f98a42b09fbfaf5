import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeGreeting,
  decodeRequest,
  encodeReply,
  judgeRequest,
  Reply,
} from '../../../src/bytestreams/wire/socks5.ts';

// The hash of XEP-0065 §8.1's kind: 40 hex digits as the address.
const HASH = '972b7bf47291ca609517f67f86b5081086052dad';

const request = (command: number, addressType: number, address: Buffer, port = 0): Buffer =>
  Buffer.concat([
    Buffer.of(5, command, 0, addressType, ...(addressType === 3 ? [address.length] : [])),
    address,
    Buffer.of(port >> 8, port & 0xff),
  ]);

const CONNECT = request(1, 3, Buffer.from(HASH));

const judge = (bytes: Buffer) => {
  const decoded = decodeRequest(bytes);
  assert.ok(decoded);
  return judgeRequest(decoded);
};

test('a greeting lists methods (RFC 1928 §3)', () => {
  assert.deepEqual(decodeGreeting(Buffer.from('050100', 'hex')), { methods: [0], sizeBytes: 3 });
  assert.deepEqual(decodeGreeting(Buffer.from('05030201009999', 'hex')), {
    methods: [2, 1, 0],
    sizeBytes: 5,
  });
  assert.deepEqual(decodeGreeting(Buffer.from('0500', 'hex')), { methods: [], sizeBytes: 2 });
});

test('a request that is cut anywhere is waited for, and no byte behind it is taken', () => {
  for (let length = 0; length < CONNECT.length; length += 1) {
    assert.equal(decodeRequest(CONNECT.subarray(0, length)), null);
  }
  const decoded = decodeRequest(Buffer.concat([CONNECT, Buffer.from('more')]));
  assert.equal(decoded?.sizeBytes, CONNECT.length);
  assert.equal(decoded?.address.toString(), HASH);
  for (let length = 0; length < 4; length += 1) {
    assert.equal(decodeGreeting(Buffer.from('05020001', 'hex').subarray(0, length)), null);
  }
});

test('what does not begin with 5 is not SOCKS5', () => {
  const refused = { name: 'ProtocolError' };
  assert.throws(() => decodeGreeting(Buffer.of(4, 1, 0)), refused);
  assert.throws(() => decodeGreeting(Buffer.from('GET / HTTP/1.1\r\n')), refused);
  assert.throws(() => decodeRequest(Buffer.of(4)), refused);
});

test('the reply repeats the address and port of the request (XEP-0065 §6.3.3)', () => {
  const requests = [
    CONNECT,
    request(1, 3, Buffer.alloc(255, 'x'), 65535),
    request(1, 3, Buffer.alloc(0), 7),
    request(2, 1, Buffer.of(127, 0, 0, 1), 7777),
    request(3, 4, Buffer.alloc(16, 0xfe), 1),
  ];
  for (const bytes of requests) {
    const decoded = decodeRequest(bytes);
    assert.ok(decoded);
    const expected = Buffer.from(bytes);
    expected[1] = Reply.notAllowed;
    assert.deepEqual(encodeReply(Reply.notAllowed, decoded), expected);
  }
  const unknown = decodeRequest(Buffer.of(5, 1, 0, 9, 1, 2, 3));
  assert.ok(unknown);
  assert.equal(encodeReply(Reply.failed, unknown).toString('hex'), '05010001000000000000');
});

test('only a request to connect to a hash, at port 0, is granted', () => {
  const name = Buffer.from(HASH);
  assert.deepEqual(judge(CONNECT), { reply: Reply.succeeded, hash: HASH });
  assert.deepEqual(judge(request(1, 3, Buffer.from(HASH.toUpperCase()))).hash, HASH);
  assert.equal(judge(request(2, 3, name)).reply, Reply.commandNotSupported);
  assert.equal(judge(request(3, 3, name)).reply, Reply.commandNotSupported);
  assert.equal(judge(request(1, 1, Buffer.alloc(4))).reply, Reply.addressTypeNotSupported);
  assert.equal(judge(request(1, 4, Buffer.alloc(16))).reply, Reply.addressTypeNotSupported);
  assert.equal(judge(Buffer.of(5, 1, 0, 2)).reply, Reply.addressTypeNotSupported);
  assert.equal(judge(request(1, 3, name, 1)).reply, Reply.notAllowed);
  for (const text of ['example.com', '', HASH.slice(1), `${HASH}0`, `${HASH.slice(1)}\n`]) {
    assert.deepEqual(judge(request(1, 3, Buffer.from(text))), {
      reply: Reply.notAllowed,
      hash: null,
    });
  }
});

test('noise is waited for, refused or judged, and nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, isSocks) => {
      const bytes = Buffer.from(noise);
      if (isSocks && bytes.length > 0) bytes[0] = 5;
      try {
        const decoded = decodeRequest(bytes);
        if (!decoded) return;
        assert.ok(decoded.sizeBytes <= bytes.length);
        judgeRequest(decoded);
        const known = [1, 3, 4].includes(decoded.addressType);
        assert.equal(encodeReply(1, decoded).length, known ? decoded.sizeBytes : 10);
      } catch (error) {
        assert.equal((error as Error).name, 'ProtocolError');
        assert.notEqual(bytes[0], 5);
      }
    }),
  );
});
