/** Rows become stanzas that say what the row may say, and stanzas are read for what they are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Element } from '@xmpp/client';
import fc from 'fast-check';
import {
  buildMessage,
  buildPresence,
  buildReceipt,
  type Outgoing,
  readMessage,
} from '../../src/accounts/stanzas.ts';
import { RejectError } from '../../src/errors.ts';
import { parseFragment } from '../../src/xmpp/wire/fragment.ts';

const ID = 'a.b.c';
const MAX = 250_000;
const ROW: Outgoing = {
  messageStanza: null,
  messageTo: 'bob@example.test',
  messageSubject: null,
  messageBody: 'Hello, there!',
  messageType: 'chat',
  thread: null,
  lang: null,
  requestReceipt: true,
  content: null,
};

const build = (change: Partial<Outgoing>, maxBytes = MAX): string =>
  buildMessage({ ...ROW, ...change }, ID, maxBytes).text;
const parse = (xml: string): Element => parseFragment(xml);
const own = (messageStanza: string) => parse(build({ messageStanza }));
const read = (xml: string) => readMessage(parse(xml), 'me@example.test');
const refused = (condition: string, message: RegExp) => (error: unknown) =>
  error instanceof RejectError && error.condition === condition && message.test(error.message);

test('a row becomes a message with an origin-id and a request for a receipt', () => {
  assert.equal(
    build({}),
    "<message to='bob@example.test' type='chat' id='a.b.c'><body>Hello, there!</body>" +
      "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>" +
      "<origin-id xmlns='urn:xmpp:sid:0' id='a.b.c'/></message>",
  );
});

test('any text that XML can carry arrives as it was', () => {
  const texts = fc.string({ unit: 'binary' }).filter((text) => {
    try {
      build({ messageBody: text });
      return true;
    } catch {
      return false;
    }
  });
  fc.assert(
    fc.property(texts, texts, texts, (body, subject, thread) => {
      const message = parse(
        build({ messageBody: body, messageSubject: subject, thread, lang: 'en' }),
      );
      // A line break is one character to an XML reader (XML 1.0 §2.11), unless it is escaped.
      assert.equal(message.getChildText('body'), body);
      assert.equal(message.getChildText('subject'), subject);
      assert.equal(message.getChildText('thread'), thread);
      assert.equal(message.attrs['xml:lang'], 'en');
    }),
  );
});

test('what XML cannot carry is refused by column and position', () => {
  for (const [column, key] of [
    ['message_body', 'messageBody'],
    ['message_subject', 'messageSubject'],
    ['thread', 'thread'],
    ['lang', 'lang'],
  ] as const) {
    const message = new RegExp(`^${column} has the character U\\+0008 at position 3,`);
    assert.throws(() => build({ [key]: 'ab\b' }), refused('bad-request', message));
  }
});

test('a recipient is put in its normal form; none or a broken one is refused', () => {
  assert.match(build({ messageTo: ' BOB@Example.Test/Phone ' }), /to='bob@example.test\/Phone'/);
  for (const messageTo of [null, '', 'a@b@c', '@b', 'a b@c', "x'/><a"]) {
    assert.throws(() => build({ messageTo }), refused('jid-malformed', /^message_to is/));
  }
});

test('a receipt is asked for when there is a body and a single reader (XEP-0184 §5.5)', () => {
  const asks = (change: Partial<Outgoing>) => build(change).includes('urn:xmpp:receipts');
  assert.equal(asks({ messageType: 'normal' }), true);
  assert.equal(asks({ messageType: 'groupchat' }), false);
  assert.equal(asks({ messageType: 'headline' }), false);
  assert.equal(asks({ messageBody: null }), false);
  assert.equal(asks({ requestReceipt: false }), false);
});

test('the size counts in bytes', () => {
  const sizeBytes = Buffer.byteLength(build({ messageBody: 'ä' }));
  assert.ok(build({ messageBody: 'ä' }, sizeBytes));
  assert.throws(
    () => build({ messageBody: 'ä' }, sizeBytes - 1),
    refused('policy-violation', /max_stanza_bytes/),
  );
});

test("a row's own stanza keeps its content, and gets our id and no sender", () => {
  const message = own(`<message xmlns='jabber:client' to='BOB@example.test' from='eve@x.test' id='x'
    type='headline'><body>a &lt; b</body><x xmlns='urn:x'><y/></x>
    <origin-id xmlns='urn:xmpp:sid:0' id='forged'/>
    <stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='x.test'/></message>`);
  assert.deepEqual(
    { to: message.attrs.to, from: message.attrs.from, id: message.attrs.id },
    { to: 'bob@example.test', from: undefined, id: ID },
  );
  assert.equal(message.getChildText('body'), 'a < b');
  assert.ok(message.getChild('x', 'urn:x')?.getChild('y'));
  const originIds = message.getChildren('origin-id', 'urn:xmpp:sid:0');
  assert.deepEqual(
    originIds.map(({ attrs }) => attrs.id),
    [ID],
  );
  assert.equal(message.getChild('stanza-id', 'urn:xmpp:sid:0'), undefined);
});

test('an empty own stanza, and one whose text ends in />, stay whole', () => {
  assert.equal(own("<message to='a@b'/>").getChildElements().length, 1);
  assert.equal(own("<message to='a@b'>/&gt;</message>").text(), '/>');
});

test("an own stanza that is no message of a user's is refused", () => {
  const wrong: [stanza: string, condition: string][] = [
    ["<iq to='a@b' type='get' id='1'/>", 'bad-request'],
    ["<message xmlns='jabber:server' to='a@b'/>", 'bad-request'],
    ["<message to='a@b' type='error'/>", 'bad-request'],
    ["<message to='a@b' type='shout'/>", 'bad-request'],
    ['<message/>', 'jid-malformed'],
    ["<message to='a@b'/><message to='a@b'/>", 'bad-request'],
    ["<message to='a@b'>", 'bad-request'],
    ['', 'bad-request'],
    [`<message to='a@b'>${'x'.repeat(MAX)}</message>`, 'policy-violation'],
  ];
  for (const [messageStanza, condition] of wrong) {
    assert.throws(
      () => build({ messageStanza }),
      refused(condition, /./),
      messageStanza.slice(0, 60),
    );
  }
});

test('a message is read into its columns', () => {
  const { incoming, report, wantsReceipt } = read(`<message from='a@b/c' to='me@example.test/r'
    id='i1' type='chat' xml:lang='de'><subject>s</subject><body>b</body><thread>t</thread>
    <request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='o1'/>
    <stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='b'/>
    <stanza-id xmlns='urn:xmpp:sid:0' id='s1' by='me@example.test'/>
    <delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05Z'/></message>`);
  const { stanza, ...columns } = incoming ?? { stanza: '' };
  assert.deepEqual(columns, {
    from: 'a@b/c',
    to: 'me@example.test/r',
    subject: 's',
    body: 'b',
    type: 'chat',
    id: 'i1',
    originId: 'o1',
    archiveId: 's1',
    thread: 't',
    lang: 'de',
    delayedAt: new Date('2026-01-02T03:04:05Z'),
    errorCondition: null,
    content: null,
    carbon: null,
  });
  assert.match(stanza, /^<message /);
  assert.equal(report, null);
  assert.equal(wantsReceipt, true);
});

test('an unknown type is normal, as is none (RFC 6121 §5.2.2)', () => {
  assert.equal(read("<message type='shout'><body/></message>").incoming?.type, 'normal');
  assert.equal(read('<message><body/></message>').incoming?.type, 'normal');
});

test('the time of an old delay is read, and a broken one is none (XEP-0091)', () => {
  const delayed = (stamp: string) =>
    read(`<message><body/><x xmlns='jabber:x:delay' stamp='${stamp}'/></message>`).incoming
      ?.delayedAt;
  assert.deepEqual(delayed('20020910T23:08:25'), new Date('2002-09-10T23:08:25Z'));
  assert.equal(delayed('yesterday'), null);
});

test('a mere signal is not kept, a text beside it is', () => {
  const typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
  assert.equal(read(`<message from='a@b'>${typing}<thread>t</thread></message>`).incoming, null);
  assert.ok(read(`<message from='a@b'>${typing}<body>b</body></message>`).incoming);
  assert.ok(read("<message from='a@b'><x xmlns='urn:unknown'/></message>").incoming);
});

test('receipts, markers and errors are reports on what we sent', () => {
  const reports: [xml: string, kind: string, condition: string | null][] = [
    [
      "<message from='a@b'><received xmlns='urn:xmpp:receipts' id='x'/></message>",
      'delivered',
      null,
    ],
    [
      "<message from='a@b'><received xmlns='urn:xmpp:chat-markers:0' id='x'/></message>",
      'delivered',
      null,
    ],
    [
      "<message from='a@b'><displayed xmlns='urn:xmpp:chat-markers:0' id='x'/></message>",
      'displayed',
      null,
    ],
    [
      `<message from='a@b' type='error' id='x'><error type='cancel'>
        <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no</text>
        <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`,
      'failed',
      'item-not-found',
    ],
    ["<message from='a@b' type='error' id='x'/>", 'failed', 'undefined-condition'],
  ];
  for (const [xml, kind, condition] of reports) {
    const { report, wantsReceipt } = read(xml);
    assert.deepEqual(
      {
        kind: report?.kind,
        id: report?.id,
        from: report?.from,
        condition: report?.error?.condition,
      },
      { kind, id: 'x', from: 'a@b', condition: condition ?? undefined },
    );
    assert.equal(wantsReceipt, false);
  }
});

test('no receipt is given for an error, a room or a message without an id (XEP-0184 §5)', () => {
  const request = "<body/><request xmlns='urn:xmpp:receipts'/>";
  assert.equal(
    read(`<message from='a@b' id='1' type='error'>${request}</message>`).wantsReceipt,
    false,
  );
  assert.equal(
    read(`<message from='a@b' id='1' type='groupchat'>${request}</message>`).wantsReceipt,
    false,
  );
  assert.equal(read(`<message from='a@b'>${request}</message>`).wantsReceipt, false);
});

test('a receipt names the message, whatever is in its id', () => {
  const receipt = parse(
    buildReceipt(parse('<message from="a@b/\'" id="&apos;&lt;&amp;" type="chat"/>')),
  );
  assert.equal(receipt.attrs.to, "a@b/'");
  assert.equal(receipt.attrs.type, 'chat');
  assert.equal(receipt.getChild('received', 'urn:xmpp:receipts')?.attrs.id, "'<&");
});

test('presence says no more than it must', () => {
  assert.equal(buildPresence({ show: null, status: null, priority: 0 }), '<presence></presence>');
  assert.equal(
    buildPresence({ show: 'away', status: 'a < b', priority: -1 }),
    '<presence><show>away</show><status>a &lt; b</status><priority>-1</priority></presence>',
  );
  assert.throws(() => buildPresence({ show: null, status: '\0', priority: 0 }), RejectError);
});
