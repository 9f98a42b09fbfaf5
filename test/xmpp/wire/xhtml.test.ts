/** What is cleaned holds nothing but what XEP-0071 recommends, whatever went in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Element } from '@xmpp/client';
import fc from 'fast-check';
import { RejectError } from '../../../src/errors.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { cleanXhtml, formatXhtml, parseXhtml } from '../../../src/xmpp/wire/xhtml.ts';
import { hostileXhtml } from '../../fixtures/hostileXhtml.ts';

const clean = (text: string): string => formatXhtml(cleanXhtml(parseXhtml(text)));
const nest = (depth: number, name = 'span'): string =>
  `${`<${name}>`.repeat(depth)}x${`</${name}>`.repeat(depth)}`;
const refused = (condition: string, message: RegExp) => (error: unknown) =>
  error instanceof RejectError && error.condition === condition && message.test(error.message);

for (const { what, xhtml, clean: expected } of hostileXhtml) {
  test(`${what} is disarmed`, () => {
    if (expected === 'error') assert.throws(() => clean(xhtml), refused('bad-request', /./));
    else assert.equal(clean(xhtml), expected);
  });
}

test('what is recommended stays as it was (XEP-0071 §7.8)', () => {
  for (const text of [
    '<p style="font-weight: bold">hi!</p>',
    'a <em>b</em> <strong>c</strong> <span style="color: red">d</span><br/>e <cite>f</cite>',
    '<blockquote style="margin-left: 5%"><p>a</p></blockquote>',
    '<ol><li>a<ul><li>b</li></ul></li></ol>',
    '<a href="https://a.example/?b=c&amp;d#e" type="text/html">f</a>',
    '<a href="mailto:a@b">c</a><a href="xmpp:a@b?message">d</a>',
    '<img src="http://a.example/b.png" alt="c" height="261" width="50%"/>',
    '<a href="http://ä.example/ö">b</a>',
    '<h1>a</h1><div>b</div><pre><code>c\n  d</code></pre><q>e</q>',
  ]) {
    assert.equal(clean(text), text);
  }
});

test('the styles that are recommended stay, in one way of writing (§7.6.1)', () => {
  const cases: [style: string, clean: string][] = [
    ['color:red', 'color: red'],
    [' COLOR : #FF00aa ; ', 'color: #ff00aa'],
    ['color: rgb(0, 50%,255)', 'color: rgb(0, 50%,255)'],
    ['background-color: #fff; position: fixed', 'background-color: #fff'],
    [
      "font-family: Arial, 'Comic Sans MS', monospace",
      "font-family: Arial, 'Comic Sans MS', monospace",
    ],
    ['font-size: 14pt; font-style: italic', 'font-size: 14pt; font-style: italic'],
    ['font-size: x-large; font-weight: 700', 'font-size: x-large; font-weight: 700'],
    ['margin-left: 5%; margin-right: 1.5em', 'margin-left: 5%; margin-right: 1.5em'],
    [
      'text-align: center; text-decoration: underline',
      'text-align: center; text-decoration: underline',
    ],
    ['color: red; color: blue', 'color: blue'],
  ];
  for (const [style, expected] of cases) {
    const body = cleanXhtml(parseXhtml(`<p style="${style}"/>`));
    assert.equal(body.getChild('p')?.attrs.style, expected);
  }
});

test('what is not known is left out, and its content presented (XEP-0071 §12.2)', () => {
  assert.equal(
    clean(`<p>The <acronym>XHTML</acronym> user</p>
<ol type='1' start='4'><li><p>If</p></li></ol>`),
    '<p>The <acronym>XHTML</acronym> user</p>\n<ol><li><p>If</p></li></ol>',
  );
  assert.equal(clean('<P>a <marquee>b</marquee></P>'), '<p>a b</p>');
});

test('whole documents are taken for what is in their body', () => {
  const body = "<body xmlns='http://www.w3.org/1999/xhtml'><p>a</p></body>";
  assert.equal(clean(body), '<p>a</p>');
  assert.equal(
    clean(`<html xmlns='http://jabber.org/protocol/xhtml-im'>${body}</html>`),
    '<p>a</p>',
  );
  assert.equal(clean('<html><head><title>a</title></head><body>b</body></html>'), 'b');
});

test('a prefix is written without it', () => {
  const xhtml = '<h:p xmlns:h="http://www.w3.org/1999/xhtml" style="color:red">a</h:p>';
  assert.equal(clean(xhtml), '<p style="color: red">a</p>');
});

test('a fragment cannot end the body around it, and what is no XML is refused by its place', () => {
  assert.throws(() => parseXhtml('</body><script/><body>'), refused('bad-request', /1:/));
  assert.throws(() => parseXhtml('</body>'), refused('bad-request', /1:/));
  assert.throws(
    () => parseXhtml('<p>&nbsp;</p>'),
    refused('bad-request', /refused: 1:9: undefined/),
  );
  assert.throws(
    () => parseXhtml('<p>\n&nbsp;</p>'),
    refused('bad-request', /refused: 2:6: undefined/),
  );
  assert.throws(() => parseXhtml('<br>'), refused('bad-request', /./));
  assert.throws(() => parseXhtml('<!-- a -->'), refused('bad-request', /a comment/));
  assert.throws(
    () => parseXhtml('a', { maxStanzaBytes: 10 }),
    refused('policy-violation', /10 bytes/),
  );
});

test('a great depth is refused in what users write, and made flat in what comes', () => {
  assert.throws(() => parseXhtml(nest(64)), refused('policy-violation', /deeper/));
  assert.equal(clean(nest(50)), nest(32));
  assert.equal(clean(`${nest(50)}<br/>`), `${nest(32)}<br/>`);
  const deep = parseFragment(
    `<body xmlns='http://www.w3.org/1999/xhtml'>${nest(126, 'b')}</body>`,
    {
      maxDepth: 128,
    },
  );
  assert.equal(formatXhtml(cleanXhtml(deep)), 'x');
});

const name = fc.constantFrom(
  ...[
    'p',
    'P',
    'a',
    'br',
    'img',
    'script',
    'SCRIPT',
    'style',
    'svg',
    'foo',
    'span',
    'li',
    'ol',
    'pre',
  ],
  ...['body', 'html', 'object', 'h:p', 'h:script', 's:a', 'xml:p', '__proto__', 'toString'],
);
const attribute = fc
  .record({
    name: fc.constantFrom(
      'href',
      'src',
      'style',
      'onclick',
      'alt',
      'type',
      'xmlns',
      'h:href',
      'width',
    ),
    value: fc.oneof(
      fc.string({ unit: fc.constantFrom(...'javscript:&#/;"\t\n ()u\\') }),
      fc.constantFrom(
        ...[
          'http://a',
          'javascript:a',
          'color: red',
          'urn:x',
          '1',
          'a/b',
          ' https://b ',
          'color: url(a)',
        ],
      ),
    ),
  })
  .map(({ name, value }) => [name, value] as const);

const refer = (text: string): string =>
  text.replace(/[&<>"\t\n\r]/g, (char) => `&#${char.charCodeAt(0)};`);

const { node } = fc.letrec<{ node: string; element: string }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 6 },
    fc.string().map((text) => refer(text)),
    tie('element'),
  ),
  element: fc
    .tuple(
      name,
      fc.uniqueArray(attribute, { selector: ([key]) => key, maxLength: 4 }),
      fc.array(tie('node'), { maxLength: 4 }),
    )
    .map(([tag, attributes, children]) => {
      const written = attributes.map(([key, value]) => ` ${key}="${refer(value)}"`).join('');
      return `<${tag}${written}>${children.join('')}</${tag}>`;
    }),
}));

const NAMES =
  /^(?:a|abbr|acronym|address|blockquote|br|cite|code|dfn|div|em|h[1-6]|img|kbd|li|ol|p|pre|q|samp|span|strong|ul|var)$/;
const VALUES: Record<string, RegExp> = {
  href: /^(?:https?:\/\/[^/]|mailto:|xmpp:)[^\s<>"\\]*$/i,
  src: /^https?:\/\/[^/][^\s<>"\\]*$/i,
  style: /^(?:[a-z-]+: [^;:]+(?:; |$))+$/,
  type: /^[\w.+-]+\/[\w.+-]+$/,
  alt: /(?:)/,
  width: /^\d{1,4}%?$/,
  height: /^\d{1,4}%?$/,
};

const requireAllowed = (element: Element): void => {
  for (const child of element.getChildElements()) {
    assert.match(child.name, NAMES);
    for (const [key, value] of Object.entries(child.attrs)) {
      assert.match(String(value), VALUES[key] ?? /^(?!)/, key);
      assert.doesNotMatch(String(value), key === 'style' ? /url|expression|[\\@<]/i : /^(?!)/);
    }
    requireAllowed(child);
  }
};

test('what comes out is read again, holds only what is allowed, and is clean already', () => {
  const declared = "xmlns:h='http://www.w3.org/1999/xhtml' xmlns:s='http://www.w3.org/2000/svg'";
  let kept = 0;
  fc.assert(
    fc.property(fc.array(node, { maxLength: 4 }), (nodes) => {
      let dirty: Element;
      try {
        dirty = parseXhtml(`<div ${declared}>${nodes.join('')}</div>`);
      } catch (error) {
        assert.ok(error instanceof RejectError, String(error));
        return;
      }
      const text = formatXhtml(cleanXhtml(dirty));
      const again = parseXhtml(text);
      requireAllowed(again);
      assert.equal(formatXhtml(cleanXhtml(again)), text);
      kept += 1;
    }),
    { numRuns: 2000 },
  );
  assert.ok(kept > 500, `${kept}`);
});
