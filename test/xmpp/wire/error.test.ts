import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  describeStanzaError,
  errorConditions,
  formatStanzaError,
  readStanzaError,
  type StanzaError,
} from '../../../src/xmpp/wire/error.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { assertSameXml, trimmedText } from '../../support/xmlTree.ts';

const NS = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'";
const NOTHING = { text: null, by: null };
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
  const choose = (...texts: string[]) => read(`<error type='wait'>${texts.join('')}</error>`).text;
  assert.equal(choose(text('a', 'de'), text('b', 'en-GB'), text('c')), 'c');
  assert.equal(choose(text('a', 'de'), text('b', 'EN-gb'), text('c', 'fr')), 'b');
  assert.equal(choose(text('a', 'de'), text('b', 'enm')), 'a');
  assert.equal(choose(), null);
});

test('an error is told with its text, if it has one', () => {
  const error: StanzaError = { ...NOTHING, type: 'cancel', condition: 'gone' };
  assert.equal(describeStanzaError(error), 'gone');
  assert.equal(describeStanzaError({ ...error, text: 'moved' }), 'gone (moved)');
});

test('an error is written with the type of its condition', () => {
  assertSameXml(
    formatStanzaError({ condition: 'item-not-found' }),
    `<error type='cancel'><item-not-found ${NS}/></error>`,
  );
  assertSameXml(
    formatStanzaError({ condition: 'not-authorized', text: "it's < 3" }),
    `<error type='auth'><not-authorized ${NS}/><text ${NS}>it's &lt; 3</text></error>`,
  );
});

test('a condition of no standard goes out as one that is undefined (RFC 6120 §8.3.3.21)', () => {
  for (const condition of ['', 'no-room', "gone/><x y='", 'toString', 'text']) {
    assertSameXml(
      formatStanzaError({ condition, text: 'a' }),
      `<error type='cancel'><undefined-condition ${NS}/>${text('a')}</error>`,
    );
  }
});

test('a text that XML cannot carry is refused', () => {
  for (const illegal of ['\0', '\uD800']) {
    assert.throws(() => formatStanzaError({ condition: 'gone', text: illegal }), {
      name: 'RejectError',
      condition: 'bad-request',
    });
  }
});

test('what is written is read as it was', () => {
  const texts = fc.option(trimmedText);
  fc.assert(
    fc.property(fc.constantFrom(...errorConditions), texts, (condition, said) => {
      const error = read(formatStanzaError({ condition, text: said }));
      assert.deepEqual([error.condition, error.text], [condition, said]);
    }),
  );
});
