import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RejectError } from '../../../src/errors.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { hostileXml } from '../../fixtures/hostileXml.ts';

const badRequest = (message: RegExp) => ({
  name: 'RejectError',
  condition: 'bad-request',
  message,
});
const tooMuch = { name: 'RejectError', condition: 'policy-violation' };
const nest = (depth: number): string => '<a>'.repeat(depth) + '</a>'.repeat(depth);

test('one element with white space around it is read', () => {
  const element = parseFragment(' \r\n\t<message to="a@b"><body>c</body></message>\n');
  assert.equal(element.name, 'message');
  assert.equal(element.attrs.to, 'a@b');
  assert.equal(element.parent, null);
  assert.equal(element.getChildText('body'), 'c');
  assert.equal(element.getChild('body')?.parent, element);
});

test('namespaces are found as on a stream', () => {
  const element = parseFragment(
    '<message xmlns="jabber:client"><x xmlns="a"><y/></x><p:z xmlns:p="b"/></message>',
  );
  assert.ok(element.is('message', 'jabber:client'));
  assert.equal(element.getChild('x', 'a')?.getChild('y')?.getNS(), 'a');
  assert.ok(element.getChild('z', 'b'));
  assert.ok(parseFragment('<message/>').is('message'));
  assert.equal(parseFragment('<message/>').getNS(), undefined);
});

for (const { what, xml, condition } of hostileXml) {
  test(`${what} is refused`, () => {
    const expected = condition === 'policy-violation' ? condition : 'bad-request';
    assert.throws(
      () => parseFragment(xml),
      (error) => {
        assert.ok(error instanceof RejectError, String(error));
        assert.ok(error.message.length < 300);
        return error.condition === expected;
      },
    );
  });
}

test('anything but one element is refused', () => {
  for (const text of [
    '',
    ' ',
    'a',
    'a<b/>',
    '<a/>b',
    '\u00A0<a/>',
    '<a/>&#32;',
    '<![CDATA[a]]><a/>',
  ]) {
    assert.throws(() => parseFragment(text), badRequest(/./), text);
  }
  assert.throws(() => parseFragment('<a/><b/>'), badRequest(/only one root/));
  assert.throws(() => parseFragment('<a/><!-- b -->'), badRequest(/a comment/));
  assert.throws(() => parseFragment('<a/><?b c?>'), badRequest(/a processing instruction/));
  assert.throws(() => parseFragment('<?xml version="1.0"?><a/>'), badRequest(/before the root/));
  assert.throws(() => parseFragment('</a>'), badRequest(/./));
  assert.throws(() => parseFragment('<a/></stream:stream>'), badRequest(/./));
});

test('an element that is cut anywhere is refused', () => {
  const whole = '<a b="c" d=\'&amp;\'><e>&lt;f</e><![CDATA[g]]><h/></a>';
  assert.doesNotThrow(() => parseFragment(whole));
  for (let length = 0; length < whole.length; length += 1) {
    assert.throws(() => parseFragment(whole.slice(0, length)), badRequest(/./), `${length}`);
  }
});

test('a refusal tells the place', () => {
  assert.throws(
    () => parseFragment('<a>\n<b:c/></a>'),
    badRequest(/2:6: unbound namespace prefix/),
  );
});

test('CDATA is text', () => {
  const element = parseFragment('<a>b<![CDATA[<c> & ]]]]><![CDATA[>]]>d</a>');
  assert.deepEqual(element.children, ['b<c> & ]]>d']);
});

test('depth, attributes and bytes are limited', () => {
  assert.doesNotThrow(() => parseFragment(nest(64)));
  assert.throws(() => parseFragment(nest(65)), tooMuch);
  assert.doesNotThrow(() => parseFragment(nest(3), { maxDepth: 3 }));
  assert.throws(() => parseFragment(nest(4), { maxDepth: 3 }), tooMuch);
  assert.doesNotThrow(() => parseFragment('<a b="" c=""/>', { maxAttributes: 2 }));
  assert.throws(() => parseFragment('<a b="" c="" xmlns=""/>', { maxAttributes: 2 }), tooMuch);
  assert.doesNotThrow(() => parseFragment('<a>\u00DF</a>', { maxStanzaBytes: 9 }));
  assert.throws(() => parseFragment('<a>\u00DF</a>', { maxStanzaBytes: 8 }), tooMuch);
});

const markup = fc.constantFrom(
  ...[
    '<',
    '>',
    '</',
    '/>',
    'a',
    'b',
    ':',
    '=',
    '"',
    "'",
    '&',
    ';',
    '&amp;',
    '#',
    'x',
    ' ',
    '\n',
    '\r',
  ],
  ...[
    '<a>',
    '</a>',
    '<b/>',
    '<!--',
    '-->',
    '<![CDATA[',
    ']]>',
    '<!DOCTYPE',
    '[',
    '<?',
    '?>',
    '\uD800',
  ],
  ...['<?xml version="1.0"?>', 'xmlns:a="b"', ' c="d"', '\0', '\uFEFF', '\u{1F40E}', '1', '-', 'é'],
);

test('no text makes it throw anything but RejectError', () => {
  const texts = fc.oneof(
    fc.array(markup, { maxLength: 30 }).map((parts) => parts.join('')),
    fc.string({ unit: 'binary' }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      try {
        parseFragment(text);
      } catch (error) {
        assert.ok(error instanceof RejectError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});
