import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { formatTag, formatTextTag } from '../../../src/xmpp/wire/tag.ts';
import { legalText } from '../../support/xmlTree.ts';

test('attributes and text are read as they were written', () => {
  fc.assert(
    fc.property(legalText, legalText, (value, text) => {
      const element = parseFragment(formatTextTag('a', text, { b: value }));
      assert.equal(element.attrs.b, value);
      assert.equal(element.text(), text);
    }),
  );
});

test('what has no value is left out, and what is empty is not', () => {
  assert.equal(formatTag('a', { b: null, c: undefined, d: '', e: 0 }), "<a d='' e='0'/>");
  assert.equal(formatTag('a', {}, '<b/>'), '<a><b/></a>');
  assert.equal(formatTextTag('a', null), '');
  assert.equal(formatTextTag('a', undefined), '');
  assert.equal(formatTextTag('a', ''), '<a/>');
  assert.equal(formatTextTag('a', 0), '<a>0</a>');
});

test('what XML cannot carry is refused', () => {
  const refused = { name: 'RejectError', condition: 'bad-request' };
  assert.throws(() => formatTag('a', { b: '\0' }), refused);
  assert.throws(() => formatTextTag('a', '\uD800'), refused);
});
