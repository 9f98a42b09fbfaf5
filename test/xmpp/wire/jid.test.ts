import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RejectError } from '../../../src/errors.ts';
import { bareJid, formatJid, type Jid, parseJid } from '../../../src/xmpp/wire/jid.ts';
import { rfc7622Invalid, rfc7622Valid } from '../../fixtures/jids.ts';

const refused = (message: RegExp) => ({ name: 'RejectError', condition: 'jid-malformed', message });

const domainOf = (text: string): string => parseJid(`a@${text}`).domain;

/** Null when the text is refused; anything but RejectError ends the test. */
const tryParse = (text: string): Jid | null => {
  try {
    return parseJid(text);
  } catch (error) {
    assert.ok(error instanceof RejectError, String(error));
    assert.equal(error.condition, 'jid-malformed');
    assert.ok(error.message.length < 120, error.message);
    return null;
  }
};

for (const [text, parts] of rfc7622Valid) {
  test(`${text} is an address (RFC 7622 §3.5)`, () => {
    assert.deepEqual(parseJid(text), parts);
  });
}

for (const [text, reason] of rfc7622Invalid) {
  test(`${text} is no address (RFC 7622 §3.5)`, () => {
    assert.throws(() => parseJid(text), refused(reason));
  });
}

test('parts are told apart by the first slash, then by the first at (RFC 7622 §3.1)', () => {
  assert.deepEqual(parseJid('a@b/c/d@e'), { local: 'a', domain: 'b', resource: 'c/d@e' });
  assert.throws(() => parseJid('a@b@c'), refused(/domainpart/));
  assert.throws(() => parseJid('a@b/'), refused(/resourcepart is empty/));
  assert.throws(() => parseJid('b/'), refused(/resourcepart is empty/));
  assert.throws(() => parseJid(''), refused(/domainpart is empty/));
});

test('capitals are lowered but in the resource', () => {
  assert.deepEqual(parseJid('Juliet@Example.COM/Balcony'), {
    local: 'juliet',
    domain: 'example.com',
    resource: 'Balcony',
  });
});

test('a localpart has none of the excluded characters, wide ones included (RFC 7622 §3.3.1)', () => {
  for (const char of '"&\':<>') {
    assert.throws(() => parseJid(`a${char}b@c`), refused(/localpart may not contain/));
  }
  for (const char of ['\uFF20', '\uFF0F', '\uFF02', '\uFF1C']) {
    assert.throws(() => parseJid(`a${char}b@c`), refused(/localpart may not contain/));
  }
  assert.equal(parseJid('!#$%()*+,-.;=?[\\]^_`{|}~@b').local, '!#$%()*+,-.;=?[\\]^_`{|}~');
});

test('names are IDNA U-labels without the last dot (RFC 7622 §3.2)', () => {
  assert.equal(domainOf('example.com.'), 'example.com');
  assert.equal(domainOf('M\u00DCNCHEN.de'), 'm\u00FCnchen.de');
  assert.equal(domainOf('xn--mnchen-3ya.de'), 'm\u00FCnchen.de');
  assert.equal(domainOf('XN--MNCHEN-3YA.DE'), 'm\u00FCnchen.de');
  assert.equal(domainOf('stra\u00DFe.de'), 'stra\u00DFe.de');
  assert.equal(domainOf('\uFF41\u3002b\uFF61'), 'a.b');
  assert.equal(domainOf('\u05D0.example'), '\u05D0.example');
});

test('host names of private networks pass: one label, underscores, digits first', () => {
  for (const name of ['localhost', 'my_service', '_xmpp.a_b.c', '1and1.com', 'r3---sn.net']) {
    assert.equal(domainOf(name), name);
  }
});

test('what the URL rules would read as something else is no name', () => {
  const names = [
    ...['a b', 'a%41', '%65xample', 'a:80', 'a?b', 'a#b', 'a\\b', 'a\tb', 'a\nb', 'a!b', 'a"b'],
    ...['127.1', '1', '0x7f.1', '1.2.3', '256.1.1.1', 'a.1', 'a.0x1f', '\uFF11.2.3.4'],
    ...['a..b', '.a', 'a..', '.', '-a', 'a-', 'a.-b', 'a.b-', '\u00AD', '\uFF05\uFF14\uFF11'],
    ...['xn--a', 'xn--', 'xn--example-', 'xn--zn7c', 'a\u05D0', 'a\u200Db', '\uD800', '[', 'a]'],
  ];
  for (const name of names) {
    assert.throws(() => domainOf(name), refused(/domainpart is not/), JSON.stringify(name));
  }
});

test('IP addresses are names of servers too (RFC 7622 §3.2)', () => {
  assert.equal(domainOf('192.0.2.1'), '192.0.2.1');
  assert.equal(domainOf('192.0.2.1.'), '192.0.2.1');
  assert.equal(domainOf('[2001:DB8::1]'), '[2001:db8::1]');
  assert.equal(domainOf('[2001:db8:0:0:0:0:0:1]'), '[2001:db8::1]');
  for (const literal of ['[]', '[1.2.3.4]', '[::1', '[::1]x', '[fe80::1%eth0]', '[v1.a]', '::1']) {
    assert.throws(() => domainOf(literal), refused(/domainpart/), literal);
  }
});

test('each part has at most 1023 bytes of UTF-8, names those of DNS (RFC 7622 §3)', () => {
  const isAddress = (text: string): boolean => tryParse(text) !== null;
  assert.ok(isAddress(`${'a'.repeat(1023)}@b`));
  assert.ok(!isAddress(`${'a'.repeat(1024)}@b`));
  assert.ok(isAddress(`${'\u00DF'.repeat(511)}@b`));
  assert.ok(!isAddress(`${'\u00DF'.repeat(512)}@b`));
  assert.ok(isAddress(`${'\uFF41'.repeat(1023)}@b`), 'bytes are counted after the mapping');
  assert.ok(isAddress(`${'\u05D0'.repeat(511)}@b`));
  assert.ok(isAddress(`b/${'\u265A'.repeat(341)}`));
  assert.ok(!isAddress(`b/${'\u265A'.repeat(342)}`));
  assert.ok(!isAddress(`b/${'x'.repeat(1024)}`));
  assert.ok(isAddress(`${'a'.repeat(63)}.b`));
  assert.ok(!isAddress(`${'a'.repeat(64)}.b`));
  assert.ok(!isAddress(`${'\u00FC'.repeat(63)}.b`), 'labels are measured as they are sent in DNS');
  assert.ok(isAddress(`${'a.'.repeat(126)}b`));
  assert.ok(!isAddress(`${'a.'.repeat(127)}b`));
  assert.ok(!isAddress('x'.repeat(10_000_000)));
});

test('a bare address is prepared and has no resource', () => {
  assert.equal(bareJid('Room@Conference.Example/Nick'), 'room@conference.example');
  assert.equal(bareJid('example.com'), 'example.com');
  assert.throws(() => bareJid('a@b/\0'), refused(/resourcepart may not contain U\+0000/));
});

const character = fc.oneof(
  fc.constantFrom(...'aZ09.-_@/ []:%"\\\u00DF\u0130\u03A3\u05D0\u0661\u06F1\u00B7l\u200C\u200D'),
  fc.constantFrom('\uFF20', '\uFF0F', '\u3002', '\u094D', '\u0301', '\uD83D', '\u{1F40E}', 'xn--'),
  fc.string({ unit: 'binary', maxLength: 1 }),
);
const looseText = fc.array(character, { maxLength: 24 }).map((characters) => characters.join(''));
const address = fc
  .tuple(looseText, looseText, looseText)
  .map(([local, domain, resource]) => `${local}@${domain}.example/${resource}`);

test('a prepared address is prepared to itself', () => {
  fc.assert(
    fc.property(fc.oneof(looseText, address, fc.emailAddress(), fc.domain()), (text) => {
      const jid = tryParse(text);
      if (jid === null) return;
      assert.deepEqual(parseJid(formatJid(jid)), jid);
      assert.equal(bareJid(text), formatJid({ ...jid, resource: null }));
    }),
    { numRuns: 2000 },
  );
});

test('no text makes it throw anything but RejectError', () => {
  const anything = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.string(), looseText);
  fc.assert(
    fc.property(anything, (text) => {
      tryParse(text);
    }),
    { numRuns: 2000 },
  );
});
