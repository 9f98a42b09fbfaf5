/** Messages are read into columns as the XEPs have them, and what was built is read as it was. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  buildContent,
  CHAT_STATES,
  type Content,
  hasText,
  isPassing,
  type OutgoingContent,
} from '../../src/accounts/content.ts';
import { readContent } from '../../src/accounts/readContent.ts';
import { parseFragment } from '../../src/xmpp/wire/fragment.ts';
import { findIllegalChar } from '../../src/xmpp/wire/xml.ts';

type Reading = Content & { body: string | null };

const NOTHING: Reading = {
  body: null,
  messageHtml: null,
  oobUrl: null,
  replacesId: null,
  retractsId: null,
  reactionTo: null,
  reactions: null,
  replyToId: null,
  replyToJid: null,
  markable: false,
  displayedId: null,
  chatState: null,
  hints: null,
  encryption: null,
};

const read = (content: string): Reading =>
  readContent(parseFragment(`<message xmlns='jabber:client' from='a@b/c'>${content}</message>`));
const html = (content: string): string =>
  `<html xmlns='http://jabber.org/protocol/xhtml-im'>${content}</html>`;
const xhtml = (content: string, lang = ''): string =>
  `<body xmlns='http://www.w3.org/1999/xhtml'${lang && ` xml:lang='${lang}'`}>${content}</body>`;
const fallback = (xmlns: string | null, ranges = ''): string =>
  `<fallback xmlns='urn:xmpp:fallback:0'${xmlns === null ? '' : ` for='${xmlns}'`}>${ranges}</fallback>`;
const REPLY = "<reply to='anna@example.com' id='message-id1' xmlns='urn:xmpp:reply:0'/>";

const READ: [what: string, content: string, columns: Partial<Reading>][] = [
  ['nothing', '', {}],
  ['a body', '<body>a</body>', { body: 'a' }],
  ['an empty body', '<body/>', { body: '' }],
  ["no body of another's", "<body xmlns='urn:x'>a</body><body>b</body>", { body: 'b' }],
  [
    'XHTML (XEP-0071 §4)',
    `<body>hi!</body>${html(`\n  ${xhtml("\n<p style='font-weight:bold'>hi!</p>\n")}\n`)}`,
    { body: 'hi!', messageHtml: '<p style="font-weight: bold">hi!</p>' },
  ],
  [
    'XHTML without a body',
    html(xhtml('<p>a</p><p>b</p>')),
    { body: 'a\nb', messageHtml: '<p>a</p><p>b</p>' },
  ],
  [
    'XHTML that is harmless',
    `<body>a</body>${html(xhtml("<a href='javascript:a' onclick='b'>a</a><script>c</script>"))}`,
    { body: 'a', messageHtml: 'a' },
  ],
  ['XHTML that holds nothing', html(xhtml('<script>a</script> ')), {}],
  ['no XHTML in another namespace', html("<body xmlns='urn:x'>a</body>"), {}],
  [
    'the XHTML of the language of the body (XEP-0071 §8)',
    `<body xml:lang='de-DE'>ausgezeichnet!</body>${html(xhtml('a', 'en-US') + xhtml('b', 'de-DE'))}`,
    { body: 'ausgezeichnet!', messageHtml: 'b' },
  ],
  [
    'a file (XEP-0066 §3)',
    "<body>a</body><x xmlns='jabber:x:oob'><url>\nhttp://a/b.jpg </url><desc>c</desc></x>",
    { body: 'a', oobUrl: 'http://a/b.jpg' },
  ],
  ['no script for a file', "<x xmlns='jabber:x:oob'><url>javascript:a</url></x>", {}],
  ['no file without a place', "<x xmlns='jabber:x:oob'/>", {}],
  [
    'a correction (XEP-0308 §3)',
    "<body>a</body><replace id='bad1' xmlns='urn:xmpp:message-correct:0'/>",
    { body: 'a', replacesId: 'bad1' },
  ],
  [
    'a retraction (XEP-0424 §3)',
    `<retract id="wrong-recipient-1" xmlns='urn:xmpp:message-retract:1'/>
    <fallback xmlns="urn:xmpp:fallback:0" for='urn:xmpp:message-retract:1'/>
    <body>/me retracted a previous message, but it's unsupported by your client.</body>
    <store xmlns="urn:xmpp:hints"/>`,
    { retractsId: 'wrong-recipient-1', hints: ['store'] },
  ],
  [
    'a retraction that is fastened (XEP-0424 version 0.3 §4)',
    `<apply-to id="origin-id-1" xmlns="urn:xmpp:fasten:0">
      <retract xmlns='urn:xmpp:message-retract:0'/></apply-to>${fallback(null)}
    <body>This person attempted to retract a previous message.</body><store xmlns="urn:xmpp:hints"/>`,
    { retractsId: 'origin-id-1', hints: ['store'] },
  ],
  [
    'nothing else that is fastened',
    "<apply-to id='a' xmlns='urn:xmpp:fasten:0'><external xmlns='urn:x'/></apply-to><body>b</body>",
    { body: 'b' },
  ],
  [
    'no retraction in a tombstone (XEP-0424 §4)',
    "<retracted stamp='2019-09-20T23:09:32Z' xmlns='urn:xmpp:message-retract:1' id='a'/>",
    {},
  ],
  [
    'reactions (XEP-0444 §3.2)',
    `<reactions id='744f6e18' xmlns='urn:xmpp:reactions:0'>
      <reaction>👋</reaction><reaction> 🐢 </reaction><reaction>👋</reaction><reaction/>
    </reactions><store xmlns="urn:xmpp:hints"/>`,
    { reactionTo: '744f6e18', reactions: ['👋', '🐢'], hints: ['store'] },
  ],
  [
    'reactions taken back',
    "<reactions id='a' xmlns='urn:xmpp:reactions:0'/>",
    { reactionTo: 'a', reactions: [] },
  ],
  [
    'reactions with a body for those who know none',
    `<reactions id='a' xmlns='urn:xmpp:reactions:0'><reaction>b</reaction></reactions>
     <body>&gt; c\nb</body>${fallback('urn:xmpp:reactions:0', '<body/>')}`,
    { reactionTo: 'a', reactions: ['b'] },
  ],
  [
    'no reactions to nothing',
    "<reactions xmlns='urn:xmpp:reactions:0'><reaction>b</reaction></reactions>",
    {},
  ],
  [
    'as many reactions as there may be',
    `<reactions id='a' xmlns='urn:xmpp:reactions:0'><reaction>${'x'.repeat(65)}</reaction>${Array.from(
      { length: 60 },
      (_, index) => `<reaction>${index}</reaction>`,
    ).join('')}</reactions>`,
    { reactionTo: 'a', reactions: Array.from({ length: 50 }, (_, index) => `${index}`) },
  ],
  [
    'a reply (XEP-0461 §3)',
    `<body>Great idea!</body><reply to='anna@example.com/tablet' id='message-id1' xmlns='urn:xmpp:reply:0' />`,
    { body: 'Great idea!', replyToId: 'message-id1', replyToJid: 'anna@example.com/tablet' },
  ],
  [
    'a reply without its quote (XEP-0461 §3.1)',
    `<body>&gt; Anna wrote:\n&gt; We should bake a cake\nGreat idea!</body>${REPLY}` +
      fallback('urn:xmpp:reply:0', '<body start="0" end="38" />'),
    { body: 'Great idea!', replyToId: 'message-id1', replyToJid: 'anna@example.com' },
  ],
  [
    'a reply without its quote (XEP-0428 §2.2)',
    `<body>&gt; Anna wrote:\n&gt; Hi, how are you?\nGreat</body>${REPLY}` +
      fallback('urn:xmpp:reply:0', "<body start='0' end='33' />"),
    { body: 'Great', replyToId: 'message-id1', replyToJid: 'anna@example.com' },
  ],
  [
    'no reply to nothing',
    "<body>a</body><reply to='a@b' xmlns='urn:xmpp:reply:0'/>",
    { body: 'a' },
  ],
  [
    'a message to be marked (XEP-0333 §4)',
    "<body>a</body><markable xmlns='urn:xmpp:chat-markers:0'/>",
    { body: 'a', markable: true },
  ],
  [
    'a marker',
    "<displayed xmlns='urn:xmpp:chat-markers:0' id='message-1'/>",
    { displayedId: 'message-1' },
  ],
  [
    'a chat state (XEP-0085 §5)',
    "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
    { chatState: 'composing' },
  ],
  [
    'no chat state that there is not',
    "<typing xmlns='http://jabber.org/protocol/chatstates'/>",
    {},
  ],
  [
    'hints, each once, and none that there is not (XEP-0334 §4)',
    ['no-copy', 'shout', 'no-store', 'no-copy']
      .map((hint) => `<${hint} xmlns='urn:xmpp:hints'/>`)
      .join(''),
    { hints: ['no-copy', 'no-store'] },
  ],
  [
    'an encryption that is named (XEP-0380 §3)',
    "<body>?OTR?v23?...</body><encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:otr:0' name='a'/>",
    { body: '?OTR?v23?...', encryption: 'urn:xmpp:otr:0' },
  ],
  [
    'OMEMO as most have it, though it is not named',
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>",
    { encryption: 'eu.siacs.conversations.axolotl' },
  ],
  ['OMEMO 2', "<encrypted xmlns='urn:xmpp:omemo:2'/>", { encryption: 'urn:xmpp:omemo:2' }],
  ['OX', "<openpgp xmlns='urn:xmpp:openpgp:0'>a</openpgp>", { encryption: 'urn:xmpp:openpgp:0' }],
  ['old PGP', "<x xmlns='jabber:x:encrypted'>a</x>", { encryption: 'jabber:x:encrypted' }],
  [
    'no id that is too long',
    `<replace id='${'x'.repeat(1024)}' xmlns='urn:xmpp:message-correct:0'/>`,
    {},
  ],
  ['no id that is empty', "<replace id='' xmlns='urn:xmpp:message-correct:0'/>", {}],
];

for (const [what, content, columns] of READ) {
  test(`there is read: ${what}`, () => assert.deepEqual(read(content), { ...NOTHING, ...columns }));
}

test('ranges of a fallback count code points, and broken ones cut nothing (XEP-0426)', () => {
  const cases: [ranges: string, body: string | null][] = [
    ["<body start='0' end='2'/>", 'c🐢d'],
    ["<body start='2' end='3'/>", 'b🐎🐢d'],
    ["<body start='0' end='1'/><body start='3' end='4'/>", '🐎cd'],
    ["<body start='1' end='3'/><body start='0' end='2'/>", '🐢d'],
    ["<body end='2'/>", 'c🐢d'],
    ["<body start='3'/>", 'b🐎c'],
    ["<body start='4' end='999999999'/>", 'b🐎c🐢'],
    ["<body start='9' end='10'/>", 'b🐎c🐢d'],
    ["<body start='3' end='1'/>", 'b🐎c🐢d'],
    ["<body start='-1' end='2'/>", 'b🐎c🐢d'],
    ["<body start='0' end='1e9'/>", 'b🐎c🐢d'],
    ["<body start='' end='2'/>", 'b🐎c🐢d'],
    ["<subject start='0' end='2'/>", 'b🐎c🐢d'],
    ['<body/>', null],
    ['', null],
    ["<body start='0' end='5'/>", null],
  ];
  for (const [ranges, body] of cases) {
    const content = `<body>b🐎c🐢d</body>${REPLY}${fallback('urn:xmpp:reply:0', ranges)}`;
    assert.equal(read(content).body, body, ranges);
  }
});

test('a fallback for what was not understood or is not there stays', () => {
  const quote = fallback('urn:xmpp:reply:0', "<body start='0' end='1'/>");
  assert.equal(read(`<body>ab</body>${quote}`).body, 'ab');
  assert.equal(read(`<body>ab</body>${REPLY}${fallback('urn:x')}`).body, 'ab');
  assert.equal(read(`<body>ab</body>${REPLY}${fallback(null)}`).body, 'ab');
  assert.equal(read(`<body>ab</body>${fallback('urn:xmpp:message-retract:1')}`).body, 'ab');
});

test('a message without a namespace is read as one with it', () => {
  const message = parseFragment(`<message><body>ab</body>${REPLY}</message>`);
  assert.equal(readContent(message).body, 'ab');
});

const legal = fc
  .string({ unit: 'binary', maxLength: 30 })
  .filter((text) => findIllegalChar(text) === null);
const id = fc
  .oneof(legal, fc.string({ unit: fc.constantFrom(...'\'"<>&\t\n\r a') }))
  .filter((text) => text !== '');
const body = fc.oneof(legal, fc.constantFrom('', '> quoted\n', 'a\r\nb', ']]>'));
const url = fc.constantFrom('https://a.example/b?c&d', 'aesgcm://a/b#c', 'geo:1,2', 'sip:a@b');
const option = <T>(value: fc.Arbitrary<T>) => fc.option(value, { freq: 2 });

const extras = {
  chatState: option(fc.constantFrom(...CHAT_STATES)),
  hints: option(
    fc.constantFrom<string[]>(
      ['store'],
      ['no-copy'],
      ['no-store'],
      ['no-store', 'no-permanent-store'],
      ['no-copy', 'store'],
    ),
  ),
  markable: fc.boolean(),
  encryption: option(fc.constantFrom('urn:xmpp:otr:0', 'urn:x:"\'<&')),
};
const texts = fc
  .record({
    messageBody: option(body),
    messageHtml: option(fc.constantFrom('<p>a</p><p>b <em>c</em></p>', 'a<br/>b', 'a &amp; &lt;b')),
    oobUrl: option(url),
    replacesId: option(id),
    replyToId: option(id),
    replyToJid: option(fc.constantFrom('a@b.example', 'a@b.example/c d\'"&')),
    ...extras,
  })
  .map((content) => ({
    ...content,
    replyToJid: content.replyToId === null ? null : content.replyToJid,
    messageBody: hasText(content) ? content.messageBody : 'a',
  }));
const reaction = legal.map((text) => text.trim()).filter((text) => text !== '');
const signals = fc.oneof(
  fc.record({ retractsId: id, ...extras }),
  fc.record({
    reactionTo: id,
    reactions: fc.array(reaction, { maxLength: 60 }).map((all) => [...new Set(all)].slice(0, 50)),
    ...extras,
  }),
  fc.record({ displayedId: id, ...extras }),
  fc.record(extras),
);

const expectedHints = ({ hints, ...content }: OutgoingContent): string[] | null => {
  const [automatic] =
    content.retractsId || content.reactionTo || content.displayedId
      ? ['store']
      : isPassing(content)
        ? ['no-store']
        : [];
  const isSaid = hints?.some((hint) => hint !== 'no-copy') ?? false;
  return isSaid || !automatic ? (hints ?? null) : [...(hints ?? []), automatic];
};
const expectedBody = ({ messageBody, messageHtml, oobUrl }: OutgoingContent): string | null => {
  const plain: Record<string, string> = {
    '<p>a</p><p>b <em>c</em></p>': 'a\nb c',
    'a<br/>b': 'a\nb',
    'a &amp; &lt;b': 'a & <b',
  };
  return messageBody ?? plain[messageHtml ?? ''] ?? oobUrl ?? null;
};

test('what is built is read as it was, whatever goes together', () => {
  fc.assert(
    fc.property(fc.oneof(texts, signals), (content: OutgoingContent) => {
      const { messageBody: _, ...columns } = content;
      assert.deepEqual(read(buildContent(content)), {
        ...NOTHING,
        ...columns,
        body: expectedBody(content),
        hints: expectedHints(content),
        markable: content.markable === true && hasText(content),
      });
    }),
    { numRuns: 3000 },
  );
});
