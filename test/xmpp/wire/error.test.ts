import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RejectError } from '../../../src/errors.ts';
import {
  formatStanzaError,
  readStanzaError,
  type StanzaError,
} from '../../../src/xmpp/wire/error.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { findIllegalChar } from '../../../src/xmpp/wire/xml.ts';

const NS = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'";
const NOTHING = { text: null, by: null, redirect: null, application: null };
const read = (content: string) =>
  readStanzaError(parseFragment(`<iq xmlns='jabber:client' type='error' id='a'>${content}</iq>`));
const text = (content: string, lang = ''): string =>
  `<text ${NS}${lang && ` xml:lang='${lang}'`}>${content}</text>`;

test('an error is read with all that it may hold (RFC 6120 §8.3)', () => {
  assert.deepEqual(
    read(`<query xmlns='urn:x'/><error by='example.net' type='cancel'><gone ${NS}>xmpp:a@b</gone>
      ${text(' moved ', 'en')}<too-far xmlns='urn:example'/></error>`),
    {
      type: 'cancel',
      condition: 'gone',
      text: 'moved',
      by: 'example.net',
      redirect: 'xmpp:a@b',
      application: { name: 'too-far', xmlns: 'urn:example' },
    },
  );
  assert.deepEqual(
    readStanzaError(
      parseFragment(`<message xmlns='jabber:client' type="error" id="will-be-rejected1">
        <error xmlns="jabber:client" type="modify"><not-acceptable ${NS}/>${text('Only 💘')}</error>
        </message>`),
    ),
    { ...NOTHING, type: 'modify', condition: 'not-acceptable', text: 'Only 💘' },
  );
});

test('what is no error is none', () => {
  const error = `<error type='cancel'><gone ${NS}/></error>`;
  assert.equal(readStanzaError(parseFragment(`<iq type='result' id='a'>${error}</iq>`)), null);
  assert.equal(readStanzaError(parseFragment(`<message>${error}</message>`)), null);
});

test('of a broken error the rest counts', () => {
  const undefinedCondition = { ...NOTHING, type: 'cancel', condition: 'undefined-condition' };
  assert.deepEqual(read(''), undefinedCondition);
  assert.deepEqual(read("<error xmlns='urn:x' type='wait'/>"), undefinedCondition);
  assert.deepEqual(read(`<error type='shout'>${text('')}</error>`), undefinedCondition);
  assert.deepEqual(read(`<error><forbidden ${NS}/></error>`), {
    ...NOTHING,
    type: 'auth',
    condition: 'forbidden',
  });
  assert.deepEqual(read(`<error type='wait'><sleepy ${NS}/></error>`), {
    ...NOTHING,
    type: 'wait',
    condition: 'sleepy',
  });
});

test('the text without a language goes first, then English, then any', () => {
  const choose = (...texts: string[]) => read(`<error type='wait'>${texts.join('')}</error>`)?.text;
  assert.equal(choose(text('a', 'de'), text('b', 'en-GB'), text('c')), 'c');
  assert.equal(choose(text('a', 'de'), text('b', 'EN-gb'), text('c', 'fr')), 'b');
  assert.equal(choose(text('a', 'de'), text('b', 'enm')), 'a');
  assert.equal(choose(), null);
});

test('an error is written with the type of its condition', () => {
  assert.equal(
    formatStanzaError({ condition: 'item-not-found' }),
    `<error type='cancel'><item-not-found ${NS}/></error>`,
  );
  assert.equal(
    formatStanzaError({ condition: 'not-authorized', type: 'wait', text: "it's < 3", by: 'a@b' }),
    `<error type='wait' by='a@b'><not-authorized ${NS}/><text ${NS}>it's &lt; 3</text></error>`,
  );
});

test('what cannot be written is refused', () => {
  const isRefusal = (error: unknown) =>
    error instanceof RejectError && error.condition === 'bad-request';
  for (const error of [
    { condition: '' },
    { condition: 'a b' },
    { condition: "gone/><x y='" },
    { condition: 'gone', text: '\0' },
    { condition: 'gone', redirect: '\uD800' },
    { condition: 'gone', by: '\u0001' },
    { condition: 'gone', application: { name: 'a>', xmlns: 'b' } },
    { condition: 'gone', application: { name: 'a', xmlns: '\0' } },
  ]) {
    assert.throws(() => formatStanzaError(error), isRefusal, JSON.stringify(error));
  }
});

test('what is written is read as it was', () => {
  const legal = fc
    .string({ unit: 'binary' })
    .map((value) => value.trim() || null)
    .filter((value) => value === null || findIllegalChar(value) === null);
  const errors = fc.record<StanzaError>({
    type: fc.constantFrom('auth', 'cancel', 'continue', 'modify', 'wait'),
    condition: fc.constantFrom('gone', 'redirect', 'bad-request', 'x'),
    text: legal,
    by: legal,
    redirect: legal,
    application: fc.option(fc.constantFrom({ name: 'a-b', xmlns: 'urn:"\'<&' })),
  });
  fc.assert(
    fc.property(errors, (error) => assert.deepEqual(read(formatStanzaError(error)), { ...error })),
  );
});
