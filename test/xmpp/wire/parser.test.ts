import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Element } from '@xmpp/client';
import fc from 'fast-check';
import { ProtocolError } from '../../../src/errors.ts';
import { createStreamParser } from '../../../src/xmpp/wire/parser.ts';
import type { XmlLimits } from '../../../src/xmpp/wire/reader.ts';
import { formatElement } from '../../../src/xmpp/wire/xml.ts';
import { hostileXml } from '../../fixtures/hostileXml.ts';

const header =
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' " +
  "xmlns:stream='http://etherx.jabber.org/streams' from='example.com' id='s1'>";

type Seen = { names: string[]; elements: Element[]; errors: Error[] };

const watch = (limits?: XmlLimits) => {
  const parser = createStreamParser(limits);
  const seen: Seen = { names: [], elements: [], errors: [] };
  parser.on('start', (root) => seen.names.push(`start ${root.name}`));
  parser.on('element', (element) => {
    seen.names.push(element.name);
    seen.elements.push(element);
  });
  parser.on('end', (root) => seen.names.push(`end ${root.name}`));
  parser.on('error', (error) => {
    seen.names.push('error');
    seen.errors.push(error);
  });
  return { parser, seen };
};

const read = (texts: string[], limits?: XmlLimits): Seen => {
  const { parser, seen } = watch(limits);
  for (const text of texts) parser.write(text);
  return seen;
};

const conditionOf = ({ errors }: Seen): string | undefined => {
  const [error] = errors;
  assert.ok(error === undefined || error instanceof ProtocolError, String(error));
  return error?.source;
};

test('a stream is its header, its stanzas and its end (RFC 6120 §4.2)', () => {
  const { names, elements } = read([header, '<message/> <iq/>\n', '<presence/></stream:stream>']);
  const expected = ['start stream:stream', 'message', 'iq', 'presence', 'end stream:stream'];
  assert.deepEqual(names, expected);
  assert.deepEqual(
    elements.map((element) => element.toString()),
    ['<message/>', '<iq/>', '<presence/>'],
  );
});

test('it is what Connection of @xmpp calls with new and listens to', () => {
  const Parser: unknown = createStreamParser;
  const create = Parser as new () => ReturnType<typeof createStreamParser>; // what JavaScript lets Connection do
  const parser = new create();
  const seen: Element[] = [];
  const listener = (element: Element): unknown => seen.push(element);
  parser.on('element', listener);
  parser.write(`${header}<message/>`);
  parser.removeListener('element', listener);
  parser.write('<message/>');
  assert.equal(seen.length, 1);
});

test('elements find their namespaces in themselves, their parents and the header', () => {
  const [features, message] = read([
    `${header}<stream:features><bind xmlns='urn:b'/></stream:features>`,
    "<message><p:x xmlns:p='urn:p'><y/></p:x></message>",
  ]).elements;
  assert.ok(features !== undefined && message !== undefined);
  assert.ok(features.is('features', 'http://etherx.jabber.org/streams'));
  assert.equal(features.parent?.name, 'stream:stream');
  assert.ok(features.getChild('bind', 'urn:b'));
  assert.ok(message.is('message', 'jabber:client'));
  assert.equal(message.getChild('x', 'urn:p')?.getChild('y')?.getNS(), 'jabber:client');
});

test('the header keeps its attributes and none of the stanzas', () => {
  const { parser } = watch();
  let root: Element | undefined;
  parser.once('start', (element) => {
    root = element;
  });
  parser.write(`${header}<message/> <message/> `);
  assert.equal(root?.attrs.id, 's1');
  assert.equal(root.attrs['xmlns:stream'], 'http://etherx.jabber.org/streams');
  assert.ok(root.children.length <= 1);
});

test('text is read as XML has it: references, line ends, CDATA', () => {
  const [message] = read([
    `${header}<message a='1\t2&#9;3'><body>&lt;&amp;&gt;&quot;&apos;&#x1F40E;\r\n\r&#13;<![CDATA[<b>]]></body></message>`,
  ]).elements;
  assert.equal(message?.attrs.a, '1 2\t3');
  assert.deepEqual(message.getChild('body')?.children, ['<&>"\'\u{1F40E}\n\n\r<b>']);
});

test('a stream that is cut anywhere, twice, gives the same elements', () => {
  const stream =
    `${header}<message to='\u00DF'><body>\u{1F40E}&#x1F40E;\r\n<![CDATA[]]]]></body></message>` +
    " <a xmlns='b'/>\r\n</stream:stream>";
  const whole = read([stream]);
  const expected = whole.elements.map(formatElement);
  assert.equal(whole.errors.length, 0);
  for (let first = 0; first <= stream.length; first += 1) {
    for (const second of [first, first + 1, Math.min(first + 7, stream.length), stream.length]) {
      const seen = read([
        stream.slice(0, first),
        stream.slice(first, second),
        stream.slice(second),
      ]);
      assert.deepEqual(seen.names, whole.names, `${first} ${second}`);
      assert.deepEqual(seen.elements.map(formatElement), expected, `${first} ${second}`);
    }
  }
});

for (const { what, xml, condition } of hostileXml) {
  test(`${what} ends the stream with ${condition} (RFC 6120 §4.9.3)`, () => {
    const seen = read([header, '<presence/>', xml, '<message/>', '</stream:stream>']);
    assert.equal(conditionOf(seen), condition);
    assert.deepEqual(seen.names, ['start stream:stream', 'presence', 'error']);
    assert.ok((seen.errors[0]?.message.length ?? 0) < 300);
  });
}

test('only a declaration may stand before the header (RFC 6120 §11.7)', () => {
  const root = header.slice(header.indexOf('<stream'));
  for (const prolog of ['', ' \n', '\uFEFF', "<?xml version='1.0' encoding='UTF-8'?>\n"]) {
    assert.deepEqual(read([prolog, root]).names, ['start stream:stream'], prolog);
  }
  for (const prolog of [
    '<!DOCTYPE a>',
    '<!DOCTYPE a [<!ENTITY b "c">]>',
    '<!-- a -->',
    '<?a b?>',
  ]) {
    const seen = read([prolog, root]);
    assert.equal(conditionOf(seen), 'restricted-xml', prolog);
    assert.deepEqual(seen.names, ['error'], prolog);
  }
  assert.equal(conditionOf(read(['HTTP/1.1 400 Bad Request\r\n\r\n', root])), 'not-well-formed');
  assert.equal(
    conditionOf(read(["<?xml version='1.0' encoding='utf-16'?>", root])),
    'unsupported-encoding',
  );
});

test('a declaration of XML 1.1 lets no control characters in', () => {
  const root = header.slice(header.indexOf('<stream'));
  const seen = read(["<?xml version='1.1'?>", root, '<message>&#1;</message>']);
  assert.equal(conditionOf(seen), 'not-well-formed');
});

test('text between stanzas is refused, white space is not', () => {
  assert.equal(conditionOf(read([header, ' \t\r\n', '<message/>'])), undefined);
  assert.equal(conditionOf(read([header, 'a', '<message/>'])), 'bad-format');
  assert.equal(
    conditionOf(read([header, '<message/>', '&#160;', '</stream:stream>'])),
    'bad-format',
  );
  assert.equal(conditionOf(read([header, '<message/><![CDATA[a]]>', '<message/>'])), 'bad-format');
});

test('a stanza closed by the wrong name is not told, one before it is', () => {
  assert.deepEqual(read([`${header}<a/><b></c>`]).names, ['start stream:stream', 'a', 'error']);
  assert.deepEqual(read([`${header}<a/>&b;`]).names, ['start stream:stream', 'a', 'error']);
  assert.deepEqual(read([`${header}</stream>`]).names, ['start stream:stream', 'error']);
});

test('what follows the end or an error is ignored', () => {
  const ended = read([`${header}</stream:stream><message/>`, '<message/>', '<', '\uD800', '</a>']);
  assert.deepEqual(ended.names, ['start stream:stream', 'end stream:stream']);
  const failed = read([`${header}<a></b><message/>`, '<message/>', '<', '\uD800', '</a>']);
  assert.deepEqual(failed.names, ['start stream:stream', 'error']);
});

test('an error that nobody listens to is not thrown', () => {
  const parser = createStreamParser();
  assert.doesNotThrow(() => parser.write(`${header}<a></b>`));
});

test('a listener that throws loses no other stanza', () => {
  const { parser, seen } = watch();
  parser.write(header);
  const onElement = (): void => {
    parser.removeListener('element', onElement);
    throw new Error('a bug');
  };
  parser.prependListener('element', onElement);
  assert.throws(() => parser.write('<a/><b/><c>'), /a bug/);
  parser.write('</c>');
  assert.deepEqual(seen.names, ['start stream:stream', 'b', 'c']);
});

test('a listener may write', () => {
  const { parser, seen } = watch();
  parser.once('element', () => parser.write('<c/>'));
  parser.write(`${header}<a/><b/>`);
  assert.deepEqual(seen.names.toSorted(), ['a', 'b', 'c', 'start stream:stream']);
});

test('a stanza may have as many bytes as the limit, counted anew for each', () => {
  const stanza = `<a>${'\u00DF'.repeat(40)}</a>`; // 87 bytes
  const limits = { maxStanzaBytes: 87 };
  const short = '<stream>';
  assert.equal(read([short, stanza.repeat(1000), stanza], limits).elements.length, 1001);
  assert.equal(
    read([short, stanza, ' '.repeat(200), stanza, '\n', stanza], limits).elements.length,
    3,
  );
  assert.equal(read([short, ...stanza, ...stanza], limits).elements.length, 2);
  const tooLong = read([short, stanza, stanza.replace('<a>', '<a >')], limits);
  assert.equal(conditionOf(tooLong), 'policy-violation');
  assert.equal(tooLong.elements.length, 1);
  assert.equal(conditionOf(read([header], limits)), 'policy-violation');
});

test('depth counts from the stanza, attributes include namespaces', () => {
  const limits = { maxDepth: 3, maxAttributes: 2 };
  assert.equal(conditionOf(read(['<s>', '<a><b><c/></b></a>'], limits)), undefined);
  assert.equal(conditionOf(read(['<s>', '<a><b><c><d/></c></b></a>'], limits)), 'policy-violation');
  assert.equal(conditionOf(read(['<s>', "<a b='' c=''/>"], limits)), undefined);
  assert.equal(conditionOf(read(['<s>', "<a b='' c='' xmlns='d'/>"], limits)), 'policy-violation');
});

const inChunks = (text: string, chars: number): string[] => {
  const chunks: string[] = [];
  for (let start = 0; start < text.length; start += chars)
    chunks.push(text.slice(start, start + chars));
  return chunks;
};

test('a body of 1 MB in chunks of 1 kB is read in linear time', { timeout: 5000 }, () => {
  const text = `<message><body>${'x'.repeat(1_000_000)}</body></message>`;
  assert.equal(read([header, ...inChunks(text, 1000)]).elements.length, 1);
});

test('a body of 16 MB is refused at the limit, in chunks or whole', { timeout: 5000 }, () => {
  const text = `<message><body>${'x'.repeat(16_000_000)}`;
  const { parser, seen } = watch();
  parser.write(header);
  let written = 0;
  for (const chunk of inChunks(text, 65536)) {
    if (seen.errors.length > 0) break;
    written += chunk.length;
    parser.write(chunk);
  }
  assert.equal(conditionOf(seen), 'policy-violation');
  assert.ok(written < 1024 * 1024 + 2 * 65536);
  assert.equal(conditionOf(read([header, text])), 'policy-violation');
});

test('keepalives for ever are no stanza too long', { timeout: 5000 }, () => {
  const seen = read([
    header,
    '<a/>',
    ...Array.from({ length: 300 }, () => ' '.repeat(8192)),
    '<b/>',
  ]);
  assert.deepEqual(seen.names, ['start stream:stream', 'a', 'b']);
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
  ...[
    header,
    '</stream:stream>',
    "<message to='a'>",
    '</message>',
    '\0',
    '\uFEFF',
    '\uDC0E',
    '\u00E9',
  ],
);

test('no input makes it throw or fail twice, and cuts make no difference', () => {
  const inputs = fc.array(
    fc.oneof(
      { weight: 9, arbitrary: markup },
      { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
    ),
    {
      maxLength: 40,
    },
  );
  fc.assert(
    fc.property(inputs, fc.boolean(), (parts, isOpen) => {
      const texts = isOpen ? [header, ...parts] : parts;
      const seen = read(texts);
      assert.ok(seen.errors.length <= 1);
      assert.ok(seen.errors.every((error) => error instanceof ProtocolError));
      assert.deepEqual(read([texts.join('')]).names, seen.names);
      assert.deepEqual(read([...texts.join('')]).names, seen.names);
    }),
    { numRuns: 2000 },
  );
});
