import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xml } from '@xmpp/client';
import fc from 'fast-check';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import {
  escapeAttribute,
  escapeText,
  findIllegalChar,
  formatElement,
  maxStanzaDepth,
} from '../../../src/xmpp/wire/xml.ts';

const legalText = fc
  .string({ unit: 'binary', maxLength: 40 })
  .filter((text) => findIllegalChar(text) === null);
/** Mostly what has to be escaped. */
const trickyText = fc.oneof(
  legalText,
  fc.string({ unit: fc.constantFrom(...'<>&"\'\t\n\r ]a;#'), maxLength: 20 }),
);

const nest = (depth: number) => {
  const root = xml('a');
  let inner = root;
  for (let level = 1; level < depth; level += 1) {
    const child = xml('a');
    inner.append(child);
    inner = child;
  }
  return root;
};

test('every character is legal or not as the Char production has it (XML 1.0 §2.2)', () => {
  for (let code = 0; code <= 0x10ffff; code += 1) {
    const isLegal =
      code === 0x9 ||
      code === 0xa ||
      code === 0xd ||
      (code >= 0x20 && code <= 0xd7ff) ||
      (code >= 0xe000 && code <= 0xfffd) ||
      code >= 0x10000;
    if ((findIllegalChar(String.fromCodePoint(code)) === null) !== isLegal) assert.fail(`${code}`);
  }
});

test('the first illegal character is found, lone surrogates too', () => {
  assert.equal(findIllegalChar(''), null);
  assert.equal(findIllegalChar('🐎ab\0\u0001'), 4);
  assert.equal(findIllegalChar('a\uD83D'), 1);
  assert.equal(findIllegalChar('a\uDC0Eb'), 1);
  assert.equal(findIllegalChar(`🐎${'\uD83D'}🐎`), 2);
  assert.equal(findIllegalChar('\uDC0E\uD83D'), 0);
  assert.equal(findIllegalChar('a\uFFFFb'), 1);
});

test('what a parser would change or read as markup is escaped', () => {
  assert.equal(
    escapeText('a < b && c > d ]]> \r\n "\''),
    'a &lt; b &amp;&amp; c &gt; d ]]&gt; &#13;\n "\'',
  );
  assert.equal(escapeAttribute('<&>"\'\t\r\n'), '&lt;&amp;&gt;&quot;&apos;&#9;&#13;&#10;');
});

test('escaped text and attributes are read as they were', () => {
  fc.assert(
    fc.property(trickyText, trickyText, (text, value) => {
      for (const quote of ['"', "'"]) {
        const start = `<a b=${quote}${escapeAttribute(value)}${quote}>`;
        const element = parseFragment(`${start}${escapeText(text)}</a>`);
        assert.equal(element.attrs.b, value);
        assert.equal(element.text(), text);
      }
    }),
  );
});

test('an element is written as it was read', () => {
  const text =
    '<message xmlns="jabber:client" to="a@b"><body xml:lang="de">1 &lt; 2</body><x xmlns="y"/>' +
    '<p:q xmlns:p="r" p:s="t"/>tail</message>';
  assert.equal(formatElement(parseFragment(text)), text);
});

test('an element that is written and read is the same element', () => {
  fc.assert(
    fc.property(trickyText, trickyText, fc.array(trickyText), (text, value, bodies) => {
      const element = xml('message', { id: value }, text);
      for (const body of bodies) element.append(xml('body', { xmlns: 'a', b: body }, body));
      const copy = parseFragment(formatElement(element));
      assert.equal(copy.attrs.id, value);
      assert.equal(copy.text(), text);
      assert.deepEqual(
        copy.getChildren('body', 'a').map((body) => body.text()),
        bodies,
      );
      assert.deepEqual(
        copy.getChildren('body', 'a').map((body) => body.attrs.b),
        bodies,
      );
      assert.equal(formatElement(copy), formatElement(element));
    }),
  );
});

test('attributes without a value are left out, numbers are written', () => {
  assert.equal(formatElement(xml('a', { b: undefined, c: null, d: 0 })), '<a d="0"/>');
});

test('what cannot be XML is refused, not written', () => {
  const refused = { name: 'RejectError', condition: 'bad-request' };
  assert.throws(() => formatElement(xml('a', {}, 'b\u0001')), {
    ...refused,
    message: 'the character U+0001 is not allowed in XML',
  });
  assert.throws(() => formatElement(xml('a', { b: '\uD800' })), refused);
  for (const name of ['', 'a b', 'a>', '/a', 'a"', "a'", 'a=', '<a', 'a&', 'a\0']) {
    assert.throws(() => formatElement(xml('a', {}, new xml.Element(name))), refused, name);
    assert.throws(() => formatElement(xml('a', { [name]: '' })), refused, name);
  }
});

test('elements are written as deep as a stanza may be, no deeper', () => {
  const deepest = formatElement(nest(maxStanzaDepth));
  assert.equal(deepest.length, '<a></a>'.length * maxStanzaDepth - '></a>'.length + '/>'.length);
  const refused = { name: 'RejectError', condition: 'policy-violation' };
  assert.throws(() => formatElement(nest(maxStanzaDepth + 1)), refused);
  assert.throws(() => formatElement(nest(100_000)), refused);
});
