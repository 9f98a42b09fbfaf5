import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RejectError } from '../../../src/errors.ts';
import { enforceOpaque, enforceUsername } from '../../../src/xmpp/wire/precis.ts';
import { rfc8265Opaques, rfc8265Usernames } from '../../fixtures/jids.ts';

const username = (text: string): string => enforceUsername(text, 'name');
const opaque = (text: string): string => enforceOpaque(text, 'nick');
const refused = { name: 'RejectError', condition: 'jid-malformed' };

const checkTable = (
  enforce: (text: string) => string,
  table: [text: string, prepared: string | null][],
): void => {
  for (const [text, prepared] of table) {
    if (prepared === null) assert.throws(() => enforce(text), refused, JSON.stringify(text));
    else assert.equal(enforce(text), prepared);
  }
};

test('usernames come out as the tables have them (RFC 8265 §3.5)', () => {
  checkTable(username, rfc8265Usernames);
});

test('opaque strings come out as the tables have them (RFC 8265 §4.3)', () => {
  checkTable(opaque, rfc8265Opaques);
});

test('wide and narrow forms are mapped in usernames (RFC 8265 §3.3.2)', () => {
  checkTable(username, [
    ['\uFF21\uFF22\uFF11', 'ab1'],
    ['\uFF76\uFF9E', '\u30AC'],
    ['\u3000', null],
  ]);
});

test('opaque strings keep width and case, and compose', () => {
  checkTable(opaque, [
    ['\uFF21B\uFB01', '\uFF21B\uFB01'],
    ['e\u0301', '\u00E9'],
    ['a\u00A0\u3000b', 'a  b'],
  ]);
});

test('compatibility characters are refused in usernames, also where case would map them', () => {
  // Latin fi ligature, Kelvin, Angstrom and ohm signs, long s, Thai sara am, full-width sharp accent.
  for (const char of ['\uFB01', '\u212A', '\u212B', '\u2126', '\u017F', '\u0E33', '\uFFE3']) {
    assert.throws(() => username(`a${char}`), refused, JSON.stringify(char));
  }
});

test('the exceptions are what they are (RFC 5892 §2.6)', () => {
  for (const char of ['\u00DF', '\u03C2', '\u06FD', '\u06FE', '\u0F0B', '\u3007']) {
    assert.equal(opaque(char), char);
  }
  assert.equal(username('\u0F0B\u3007'), '\u0F0B\u3007');
  const never = ['\u0640', '\u07FA', '\u302E', '\u302F', '\u3031', '\u3035', '\u303B'];
  for (const char of never) {
    assert.throws(() => username(`\u5B57${char}`), refused, JSON.stringify(char));
    assert.throws(() => opaque(`\u5B57${char}`), refused, JSON.stringify(char));
  }
});

test('jamo, ignorable, unassigned, private, control and half characters are refused', () => {
  const never = [
    ...['\u1100', '\uA960', '\uD7B0', '\u00AD', '\u034F', '\u3164', '\uFE0F', '\u{E0100}'],
    ...['\u0378', '\u{10FFFD}', '\uE000', '\0', '\u007F', '\u0085', '\uFDD0', '\uFFFF', '\u2028'],
    ...['\u200E', '\u202E', '\uFEFF', '\uD800', '\uDC00'],
  ];
  for (const char of never) {
    assert.throws(() => username(`a${char}`), refused, JSON.stringify(char));
    assert.throws(() => opaque(`a${char}`), refused, JSON.stringify(char));
  }
});

test('joiners stand where the script joins (RFC 5892 A.1, A.2)', () => {
  checkTable(opaque, [
    // Persian, non-joiner between letters that join; Devanagari, both after a virama.
    [
      '\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645',
      '\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645',
    ],
    ['\u0645\u06CC\u064E\u200C\u064E\u062E', '\u0645\u06CC\u064E\u200C\u064E\u062E'],
    ['\u0915\u094D\u200D \u0937', '\u0915\u094D\u200D \u0937'],
    ['\u0915\u094D\u200C\u0937', '\u0915\u094D\u200C\u0937'],
    ['\u0915\u094D\u200D\u200D', null],
    ['\u0645\u06CC\u200D\u062E', null],
    ['\u0645\u06CC\u200C', null],
    ['\u0627\u200C\u062E', null],
    ['a\u200Cb', null],
    ['a\u200Db', null],
    ['\u200D', null],
    ['\u{1F469}\u200D\u{1F4BB}', null],
  ]);
});

test('context decides on the other contextual characters (RFC 5892 A.3 to A.9)', () => {
  checkTable(username, [
    ['col\u00B7lega', 'col\u00B7lega'],
    ['COL\u00B7LEGA', 'col\u00B7lega'],
    ['l\u00B7', null],
    ['a\u00B7l', null],
    ['\u0375\u03B1', '\u0375\u03B1'],
    ['\u0375a', null],
    ['\u05D0\u05F3\u05D1', '\u05D0\u05F3\u05D1'],
    ['\u05F4\u05D0', null],
    ['\u30AB\u30FB\u30AB', '\u30AB\u30FB\u30AB'],
    ['\u5B57\u30FB', '\u5B57\u30FB'],
    ['a\u30FB', null],
    ['\u0627\u0661\u0662', '\u0627\u0661\u0662'],
    ['\u0627\u06F1', '\u0627\u06F1'],
    ['\u0627\u0661\u06F1', null],
    ['\u0627\u06F1\u0661', null],
  ]);
});

test('a username is written in one direction (RFC 5893 §2)', () => {
  checkTable(username, [
    ['\u05D0\u05D1', '\u05D0\u05D1'],
    ['\u05D0.\u05D1', '\u05D0.\u05D1'],
    ['\u05D0!#$%=?[]^_`{|}~\u05D1', '\u05D0!#$%=?[]^_`{|}~\u05D1'],
    ['\u05D01', '\u05D01'],
    ['\u05D0\u05B0', '\u05D0\u05B0'],
    ['1\u05D0', null],
    ['_\u05D0', null],
    ['\u05D0.', null],
    ['a\u05D0', null],
    ['\u05D0a\u05D1', null],
    ['\u0627\u06611', null],
    ['\u0661', null],
    ['\u05B0\u05D0', null],
  ]);
  assert.equal(opaque('a\u05D0'), 'a\u05D0');
});

test('every character alone, once prepared, stays as it is', () => {
  const prepare = (enforce: (text: string) => string, text: string): string | null => {
    try {
      return enforce(text);
    } catch (error) {
      assert.ok(error instanceof RejectError);
      return null;
    }
  };
  for (let code = 0; code < 0x30000; code += 1) {
    const char = String.fromCodePoint(code);
    for (const enforce of [username, opaque]) {
      const prepared = prepare(enforce, char);
      if (prepared !== null) assert.equal(prepare(enforce, prepared), prepared);
    }
  }
});
