/** Columns become the XML that the XEPs show, or are refused by name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  buildContent,
  hasText,
  isPassing,
  type OutgoingContent,
} from '../../src/accounts/content.ts';
import { RejectError } from '../../src/errors.ts';

const refused = (condition: string, message: RegExp) => (error: unknown) =>
  error instanceof RejectError && error.condition === condition && message.test(error.message);
const RETRACTED =
  "<body>/me retracted a previous message, but it's unsupported by your client.</body>";

const BUILT: [what: string, content: OutgoingContent, xml: string][] = [
  ['nothing at all', {}, ''],
  ['a body', { messageBody: 'a < b\r' }, '<body>a &lt; b&#13;</body>'],
  ['an empty body', { messageBody: '' }, '<body></body>'],
  [
    'XHTML beside a body (XEP-0071 §4)',
    { messageBody: 'hi!', messageHtml: "<p style='font-weight:bold'>hi!</p>" },
    "<body>hi!</body><html xmlns='http://jabber.org/protocol/xhtml-im'>" +
      `<body xmlns='http://www.w3.org/1999/xhtml'><p style="font-weight: bold">hi!</p></body></html>`,
  ],
  [
    'XHTML alone, and plain what it says',
    { messageHtml: '<script>a</script><ul><li>b</li></ul><a href="http://c">d</a>' },
    "<body>• b\nd &lt;http://c&gt;</body><html xmlns='http://jabber.org/protocol/xhtml-im'>" +
      `<body xmlns='http://www.w3.org/1999/xhtml'><ul><li>b</li></ul><a href="http://c">d</a></body></html>`,
  ],
  [
    'a file with a text (XEP-0066 §3)',
    { messageBody: 'a', oobUrl: 'http://www.jabber.org/images/psa-license.jpg' },
    "<body>a</body><x xmlns='jabber:x:oob'><url>http://www.jabber.org/images/psa-license.jpg</url></x>",
  ],
  [
    'a file alone, whose URL is the body',
    { oobUrl: 'https://a/?b&c' },
    "<body>https://a/?b&amp;c</body><x xmlns='jabber:x:oob'><url>https://a/?b&amp;c</url></x>",
  ],
  [
    'a correction (XEP-0308 §3)',
    { messageBody: 'a', replacesId: 'bad1' },
    "<body>a</body><replace xmlns='urn:xmpp:message-correct:0' id='bad1'/>",
  ],
  [
    'a retraction (XEP-0424 §3)',
    { retractsId: 'wrong-recipient-1' },
    `${RETRACTED}<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/>` +
      "<retract xmlns='urn:xmpp:message-retract:1' id='wrong-recipient-1'/>" +
      "<store xmlns='urn:xmpp:hints'/>",
  ],
  [
    'reactions, each once (XEP-0444 §3.2)',
    { reactionTo: '744f6e18', reactions: ['👋', ' 🐢', '👋'] },
    "<reactions xmlns='urn:xmpp:reactions:0' id='744f6e18'><reaction>👋</reaction>" +
      "<reaction>🐢</reaction></reactions><store xmlns='urn:xmpp:hints'/>",
  ],
  [
    'reactions taken back',
    { reactionTo: 'a', reactions: [] },
    "<reactions xmlns='urn:xmpp:reactions:0' id='a'></reactions><store xmlns='urn:xmpp:hints'/>",
  ],
  [
    'reactions to a message that is not stored (XEP-0444 §4)',
    { reactionTo: 'a', reactions: [], hints: ['no-store'] },
    "<reactions xmlns='urn:xmpp:reactions:0' id='a'></reactions><no-store xmlns='urn:xmpp:hints'/>",
  ],
  [
    'a reply (XEP-0461 §3)',
    { messageBody: 'Great idea!', replyToId: 'message-id1', replyToJid: 'Anna@example.com/tablet' },
    "<body>Great idea!</body><reply xmlns='urn:xmpp:reply:0' to='anna@example.com/tablet' id='message-id1'/>",
  ],
  [
    'a reply to nobody by name',
    { messageBody: 'a', replyToId: "'<&" },
    "<body>a</body><reply xmlns='urn:xmpp:reply:0' id='&apos;&lt;&amp;'/>",
  ],
  [
    'a message to be marked (XEP-0333 §4)',
    { messageBody: 'a', markable: true },
    "<body>a</body><markable xmlns='urn:xmpp:chat-markers:0'/>",
  ],
  ['no marker without anything to display', { markable: true }, ''],
  [
    'a marker',
    { displayedId: 'message-1', markable: true },
    "<displayed xmlns='urn:xmpp:chat-markers:0' id='message-1'/><store xmlns='urn:xmpp:hints'/>",
  ],
  [
    'a chat state alone (XEP-0085 §5.6)',
    { chatState: 'composing' },
    "<composing xmlns='http://jabber.org/protocol/chatstates'/><no-store xmlns='urn:xmpp:hints'/>",
  ],
  [
    'a chat state with a text',
    { chatState: 'active', messageBody: 'a' },
    "<body>a</body><active xmlns='http://jabber.org/protocol/chatstates'/>",
  ],
  [
    'hints (XEP-0334 §4)',
    { messageBody: 'a', hints: ['no-copy', 'no-permanent-store', 'no-copy'] },
    "<body>a</body><no-copy xmlns='urn:xmpp:hints'/><no-permanent-store xmlns='urn:xmpp:hints'/>",
  ],
  [
    'an encryption (XEP-0380 §3)',
    { messageBody: '?OTR?v23?', encryption: 'urn:xmpp:otr:0' },
    "<body>?OTR?v23?</body><encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:otr:0'/>",
  ],
];

for (const [what, content, xml] of BUILT) {
  test(`there is built: ${what}`, () => assert.equal(buildContent(content), xml));
}

const text = { messageBody: 'a' };
const reactions = { reactionTo: 'a', reactions: ['b'] };

const REFUSED: [content: OutgoingContent, message: RegExp, condition?: string][] = [
  [{ reactions: ['a'] }, /^reactions is set without reaction_to$/],
  [{ reactionTo: 'a' }, /^reaction_to is set without reactions$/],
  [{ ...text, replyToJid: 'a@b' }, /^reply_to_jid is set without reply_to_id$/],
  [{ replyToId: 'a' }, /^reply_to_id is set, and there is no message_body/],
  [{ replacesId: 'a', messageSubject: 'b' }, /^replaces_id is set, and there is no message_body/],
  [{ ...text, retractsId: 'a' }, /^retracts_id goes alone, and message_body is set/],
  [{ retractsId: 'a', messageSubject: '' }, /^retracts_id goes alone, and message_subject/],
  [{ retractsId: 'a', displayedId: 'b' }, /^retracts_id goes alone, and displayed_id/],
  [{ retractsId: 'a', ...reactions }, /^retracts_id goes alone, and reaction_to/],
  [{ ...reactions, ...text }, /^reaction_to goes alone, and message_body/],
  [{ ...reactions, messageHtml: 'a' }, /^reaction_to goes alone, and message_html/],
  [{ displayedId: 'a', ...text }, /^displayed_id goes alone, and message_body/],
  [{ displayedId: 'a', oobUrl: 'http://a' }, /^displayed_id goes alone, and oob_url/],
  [{ displayedId: '' }, /^displayed_id has to be an id of 1 to 1023/],
  [{ retractsId: 'a'.repeat(1024) }, /^retracts_id has to be an id/],
  [{ ...text, replacesId: 'a\b' }, /^replaces_id has the character U\+0008 at position 2/],
  [{ ...text, replyToId: '\uD800' }, /^reply_to_id has the character U\+D800/],
  [{ ...reactions, reactionTo: '\0' }, /^reaction_to has the character U\+0000/],
  [{ ...reactions, reactions: ['a', ' '] }, /^reactions has one that is not of 1 to 64/],
  [{ ...reactions, reactions: ['🐎'.repeat(65)] }, /^reactions has one that is not of 1 to 64/],
  [{ ...reactions, reactions: ['\u0001'] }, /^reactions has the character U\+0001/],
  [
    { ...reactions, reactions: Array.from({ length: 51 }, (_, index) => `${index}`) },
    /^reactions are more than 50$/,
  ],
  [{ ...text, replyToId: 'a', replyToJid: 'a@b@c' }, /^reply_to_jid is no JID/, 'jid-malformed'],
  [{ ...text, hints: ['no-store', 'shout'] }, /^hints has one that is none of no-permanent-store/],
  [{ ...text, hints: ['store', 'no-store'] }, /^hints has store together with its opposite/],
  [{ ...text, hints: ['store/><body>x</body'] }, /^hints has one/],
  [{ chatState: 'typing' }, /^chat_state is none of active, composing/],
  [{ chatState: '' }, /^chat_state is none of/],
  [{ oobUrl: '' }, /^oob_url is no absolute URI/],
  [{ oobUrl: '/photo.jpg' }, /^oob_url is no absolute URI/],
  [{ oobUrl: 'https://a b' }, /^oob_url is no absolute URI/],
  [{ oobUrl: 'javascript:alert(1)' }, /^oob_url is no absolute URI/],
  [{ oobUrl: 'https://a\b' }, /^oob_url has the character U\+0008/],
  [{ ...text, encryption: '' }, /^encryption is no namespace/],
  [{ ...text, encryption: 'a b' }, /^encryption is no namespace/],
  [{ ...text, encryption: '\0' }, /^encryption has the character/],
  [{ messageBody: '\uFFFE' }, /^message_body has the character U\+FFFE at position 1/],
  [{ messageHtml: '' }, /^message_html holds nothing that XHTML-IM allows$/],
  [{ messageHtml: '<script>a</script><p/>' }, /^message_html holds nothing/],
  [{ ...text, messageHtml: '<p>' }, /^message_html: the XML is refused: 1:/],
  [{ ...text, messageHtml: '</body><x/>' }, /^message_html: the XML is refused/],
  [{ ...text, messageHtml: '\0' }, /^message_html has the character U\+0000 at position 1/],
  [{ messageHtml: '<b>'.repeat(99) }, /^message_html: .*deeper/, 'policy-violation'],
];

test('what contradicts itself or cannot be written is refused by its column', () => {
  for (const [content, message, condition = 'bad-request'] of REFUSED) {
    assert.throws(
      () => buildContent(content),
      refused(condition, message),
      JSON.stringify(content),
    );
  }
});

test('what an array of Postgres may hold besides text is refused as well', () => {
  // As rows come from the database: an array of texts may hold null.
  const holed = [null] as unknown as string[];
  assert.throws(
    () => buildContent({ reactionTo: 'a', reactions: holed }),
    refused('bad-request', /^reac/),
  );
  assert.throws(
    () => buildContent({ ...text, hints: holed }),
    refused('bad-request', /^hints has one/),
  );
});

test('columns that are null are as if they were not there', () => {
  assert.equal(
    buildContent({
      ...{ messageSubject: null, messageBody: null, messageHtml: null, oobUrl: null },
      ...{ replacesId: null, retractsId: null, reactionTo: null, reactions: null },
      ...{ replyToId: null, replyToJid: null, markable: false, displayedId: null },
      ...{ chatState: null, hints: null, encryption: null },
    }),
    '',
  );
});

test("the limit of message_html is the account's", () => {
  const html = 'x'.repeat(300_000);
  assert.throws(
    () => buildContent({ messageHtml: html }),
    refused('policy-violation', /^message_html: /),
  );
  assert.ok(buildContent({ messageHtml: html }, { maxStanzaBytes: 400_000 }));
});

test('only a chat state alone is passing', () => {
  assert.equal(isPassing({ chatState: 'gone' }), true);
  assert.equal(isPassing({ chatState: 'gone', hints: ['no-copy'], markable: true }), true);
  assert.equal(isPassing({}), false);
  for (const content of [
    text,
    reactions,
    { messageSubject: '' },
    { displayedId: 'a' },
    { oobUrl: 'a' },
  ]) {
    assert.equal(isPassing({ chatState: 'active', ...content }), false);
  }
});

test('a message has text when there is a body to be read', () => {
  assert.equal(hasText({ messageHtml: 'a' }), true);
  assert.equal(hasText({ oobUrl: 'a' }), true);
  assert.equal(hasText({ retractsId: 'a', messageSubject: 'b', messageBody: null }), false);
});
