/** XHTML-IM as plain text says what it says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPlainText } from '../../../src/xmpp/wire/plainText.ts';
import { cleanXhtml, parseXhtml } from '../../../src/xmpp/wire/xhtml.ts';

const plain = (text: string): string =>
  readPlainText(cleanXhtml(parseXhtml(text, { maxStanzaBytes: 4_000_000 })));

test('lines end where blocks and breaks do, and white space counts in pre alone', () => {
  const cases: [xhtml: string, plain: string][] = [
    ['', ''],
    ['hi!', 'hi!'],
    ['<p>a</p><p>b</p>', 'a\nb'],
    ['\n  <p>\n a\t b </p>\n  <p>c</p>\n', 'a b\nc'],
    ['a<br/>b<br/><br/>c<br/>', 'a\nb\n\nc'],
    ['a<div>b<p>c</p>d</div>e', 'a\nb\nc\nd\ne'],
    ['a <em> b</em> <strong>c</strong>', 'a b c'],
    ['a<p/>b', 'a\nb'],
    ['<pre>a\n  b\n\nc</pre>d', 'a\n  b\n\nc\nd'],
    ['<p>\u00A0\u00A0a</p>', '\u00A0\u00A0a'],
  ];
  for (const [xhtml, expected] of cases) assert.equal(plain(xhtml), expected, xhtml);
});

test('a link says where it leads unless that is its text', () => {
  const cases: [xhtml: string, plain: string][] = [
    ['see <a href="http://a.b/">this</a>!', 'see this <http://a.b/>!'],
    ['<a href="http://a.b/">http://a.b/</a>', 'http://a.b/'],
    ['<a href="mailto:a@b">a@b</a>', 'a@b'],
    ['<a href="xmpp:a@b">a@b</a>', 'a@b'],
    ['<a href="http://a.b/"/>', 'http://a.b/'],
    ['<a href="http://evil.b/">http://good.b/</a>', 'http://good.b/ <http://evil.b/>'],
    ['<a href="javascript:a">b</a>', 'b'],
    ['<a href="http://a"><img src="http://b" alt="c"/></a>', 'c <http://a>'],
  ];
  for (const [xhtml, expected] of cases) assert.equal(plain(xhtml), expected, xhtml);
});

test('an image is its alternative text, or where it is when it has none', () => {
  assert.equal(
    plain('a <img src="http://b/" alt="A License to Jabber"/>'),
    'a A License to Jabber',
  );
  assert.equal(plain('<img src="http://b/"/>'), 'http://b/');
});

test('quotes and lists are marked (the examples of XEP-0071 §9)', () => {
  assert.equal(
    plain(`<p>You wrote:</p>
      <blockquote>
        <p>I think we have consensus on the following:</p>
        <ol>
          <li>Remove &lt;div/&gt;</li>
          <li>Nesting is not recommended</li>
        </ol>
        <p>Yes, no, maybe?</p>
      </blockquote>
      <p>That seems fine to me.</p>`),
    'You wrote:\n> I think we have consensus on the following:\n> 1. Remove <div/>\n' +
      '> 2. Nesting is not recommended\n> Yes, no, maybe?\nThat seems fine to me.',
  );
  assert.equal(
    plain(
      '<ol><li>Add:<ul><li>lists</li><li>styles<br/>more</li></ul></li><li>Kick back</li></ol>',
    ),
    '1. Add:\n   • lists\n   • styles\n     more\n2. Kick back',
  );
  assert.equal(
    plain('<blockquote>a<br/><br/>b<blockquote>c</blockquote></blockquote>'),
    '> a\n> \n> b\n> > c',
  );
  assert.equal(plain('<ul><li/><li>a</li></ul>'), '• \n• a');
});

test('neither many lines nor deep quotes make much of little', () => {
  const lines = 100_000;
  const quoted = '<blockquote>'.repeat(30);
  const text = plain(`${quoted}${'x<br/>'.repeat(lines)}${'</blockquote>'.repeat(30)}`);
  assert.ok(text.startsWith('> > > > > x\n> > > > > x\n'));
  assert.equal(text.length, lines * 12 - 1);
  assert.ok(plain(`<ol>${'<li>a</li>'.repeat(lines)}</ol>`).endsWith(`\n${lines}. a`));
});
