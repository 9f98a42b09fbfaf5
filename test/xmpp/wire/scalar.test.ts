import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatDateTime,
  parseBase64,
  parseBoolean,
  parseCount,
  parseDateTime,
} from '../../../src/xmpp/wire/scalar.ts';

test('a count is a whole number that a number can hold', () => {
  assert.equal(parseCount('0'), 0);
  assert.equal(parseCount(' 007\n'), 7);
  assert.equal(parseCount('9007199254740991'), Number.MAX_SAFE_INTEGER);
  for (const text of [null, undefined, '', ' ', '-1', '+1', '1.0', '1e3', '0x1', '٣', 'NaN']) {
    assert.equal(parseCount(text), null, `${text}`);
  }
  assert.equal(parseCount('9007199254740992'), null);
  assert.equal(parseCount('9'.repeat(1_000_000)), null);
});

test('a boolean has two forms (XML Schema Part 2 §3.2.2)', () => {
  assert.deepEqual(['true', '1', ' 1 '].map(parseBoolean), [true, true, true]);
  assert.deepEqual(['false', '0'].map(parseBoolean), [false, false]);
  for (const text of [null, undefined, '', 'TRUE', 'yes', '2']) {
    assert.equal(parseBoolean(text), null);
  }
});

test('base64 is read in lines, and nothing else is', () => {
  assert.deepEqual(parseBase64('\n  SGVs\r\n\tbG8=\n'), Buffer.from('Hello'));
  assert.deepEqual(parseBase64(''), Buffer.alloc(0));
  for (const text of [
    null,
    undefined,
    'a',
    'ab',
    'abc',
    'a===',
    '=',
    '====',
    'ab=c',
    'ab-_',
    'é===',
  ]) {
    assert.equal(parseBase64(text), null, `${text}`);
  }
});

test('any bytes in base64 are read as they were, also a megabyte of them', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      assert.deepEqual(parseBase64(Buffer.from(bytes).toString('base64')), Buffer.from(bytes));
    }),
  );
  const large = Buffer.alloc(1_000_000, 7);
  assert.deepEqual(parseBase64(large.toString('base64')), large);
});

test('date-times of XEP-0082 §3.2 are read in any zone', () => {
  const landing = new Date(Date.UTC(1969, 6, 21, 2, 56, 15));
  assert.deepEqual(parseDateTime('1969-07-21T02:56:15Z'), landing);
  assert.deepEqual(parseDateTime('1969-07-20T21:56:15-05:00'), landing);
  assert.deepEqual(parseDateTime(' 1969-07-21T02:56:15.000Z\n'), landing);
  assert.equal(parseDateTime('2000-01-01T00:00:00.1234567Z')?.getUTCMilliseconds(), 123);
  assert.equal(parseDateTime('2000-02-29T00:00:00+14:00')?.getUTCDate(), 28);
});

test('what is no date-time is refused', () => {
  for (const text of [
    ...[
      null,
      undefined,
      '',
      '2000-01-01',
      '12:00:00',
      '2000-01-01T00:00:00',
      '2000-01-01 00:00:00Z',
    ],
    ...[
      '2000-1-1T00:00:00Z',
      '2001-02-29T00:00:00Z',
      '2000-04-31T00:00:00Z',
      '2000-00-10T00:00:00Z',
    ],
    ...[
      '2000-13-01T00:00:00Z',
      '2000-01-00T00:00:00Z',
      '2000-01-01T24:00:00Z',
      '2000-01-01T00:60:00Z',
    ],
    ...[
      '2000-01-01T00:00:60Z',
      '2000-01-01T00:00:00.Z',
      '2000-01-01T00:00:00z',
      '20000101T00:00:00',
    ],
    ...['+002000-01-01T00:00:00Z', '2000-01-01T00:00:00+0100', '2000-01-01T00:00:00+99:00', 'now'],
  ]) {
    assert.equal(parseDateTime(text), null, `${text}`);
  }
});

test('a date is read as it was written', () => {
  const dates = fc.date({
    min: new Date('0001-01-01T00:00:00Z'),
    max: new Date('9999-12-31T23:59:59.999Z'),
    noInvalidDate: true,
  });
  fc.assert(
    fc.property(dates, (date) => assert.deepEqual(parseDateTime(formatDateTime(date)), date)),
  );
  assert.equal(formatDateTime(new Date(0)), '1970-01-01T00:00:00Z');
  assert.equal(formatDateTime(new Date(1)), '1970-01-01T00:00:00.001Z');
});
