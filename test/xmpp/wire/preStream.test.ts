import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ProtocolError } from '../../../src/errors.ts';
import {
  createPreStreamDecoder,
  formatStreamHeader,
  type PreStreamEvent,
} from '../../../src/xmpp/wire/preStream.ts';

const header =
  `<?xml version='1.0'?><stream:stream from='пример.test' id='1' version='1.0' ` +
  `xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`;
const features =
  `<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>` +
  `<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>` +
  '</stream:features>';
const proceed = `<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`;
const whole = Buffer.from(header + features + proceed);
const events: PreStreamEvent[] = [{ type: 'features', offersTls: true }, { type: 'proceed' }];

const decodeAll = (...parts: Uint8Array[]): PreStreamEvent[] => {
  const decode = createPreStreamDecoder();
  return parts.flatMap((part) => decode(part));
};

test('features and the go-ahead are read across every cut', () => {
  for (let cut = 0; cut <= whole.length; cut += 1) {
    assert.deepEqual(decodeAll(whole.subarray(0, cut), whole.subarray(cut)), events);
  }
  assert.deepEqual(decodeAll(...[...whole].map((byte) => Buffer.of(byte))), events);
});

test('features without starttls, or with one of another namespace, offer no TLS', () => {
  for (const inner of ['', '<starttls/>', `<x><starttls xmlns='urn:x'/></x>`]) {
    const text = `${header}<stream:features>${inner}</stream:features>`;
    assert.deepEqual(decodeAll(Buffer.from(text)), [{ type: 'features', offersTls: false }]);
  }
});

test('a stream error is read with its condition and text, wherever the text stands', () => {
  const ns = `xmlns='urn:ietf:params:xml:ns:xmpp-streams'`;
  const said = `<text ${ns} xml:lang='en'>not <![CDATA[here]]></text>`;
  for (const inner of [`<host-unknown ${ns}/>${said}`, `${said}<host-unknown ${ns}/>`]) {
    const text = `${header}<stream:error>${inner}</stream:error></stream:stream>`;
    assert.deepEqual(decodeAll(Buffer.from(text)), [
      { type: 'error', condition: 'host-unknown', text: 'not here' },
      { type: 'end' },
    ]);
  }
});

test('anything after the go-ahead is refused, to the single byte (RFC 6120 §5.4.3.3)', () => {
  const tails = [' ', '\n', '\r', 'x', '<', '<x/>', '</stream:stream>', '\x16\x03\x01', '&'];
  for (const tail of [
    ...tails.map((text) => Buffer.from(text)),
    Buffer.of(0xd0),
    Buffer.of(0xff),
  ]) {
    assert.throws(() => decodeAll(Buffer.concat([whole, tail])), /followed the go-ahead/);
  }
});

test('a first byte of a TLS alert is told apart', () => {
  assert.deepEqual(decodeAll(Buffer.from('15030100020246', 'hex')), [{ type: 'tlsAlert' }]);
});

test('what XMPP does not allow in a stream is refused (RFC 6120 §11.1)', () => {
  const bad = [
    'HTTP/1.1 400 Bad Request\r\n\r\n',
    '<html/>',
    `<stream:stream xmlns:stream='urn:x'>`,
    `<!DOCTYPE x>${header}`,
    `${header}<!-- x -->`,
    `${header}<?x y?>`,
    `${header}<a>&nbsp;</a>`,
    `${header}<a></b>`,
    `${header}<a:b/>`,
    `${header}<a>\x01</a>`,
    header + '<a>'.repeat(20),
  ];
  for (const text of bad) assert.throws(() => decodeAll(Buffer.from(text)), ProtocolError, text);
});

test('64 kB without an end are refused', () => {
  const decode = createPreStreamDecoder();
  decode(Buffer.from(`${header}<stream:features><x>`));
  const feed = () => {
    for (let i = 0; i < 65; i += 1) decode(Buffer.alloc(1024, 'a'));
  };
  assert.throws(feed, { name: 'ProtocolError', source: 'policy-violation' });
});

test('noise makes a ProtocolError or nothing', () => {
  const noise = fc.oneof(
    fc.uint8Array(),
    fc.string({ unit: 'binary' }).map((s) => Buffer.from(s)),
  );
  fc.assert(
    fc.property(noise, fc.boolean(), (bytes, isInStream) => {
      try {
        decodeAll(Buffer.from(isInStream ? header : ''), bytes);
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
      }
    }),
  );
});

test('a domain cannot break out of the stream header', () => {
  assert.match(formatStreamHeader(`a'><b c="`), /to='a&apos;&gt;&lt;b c=&quot;'/);
});
