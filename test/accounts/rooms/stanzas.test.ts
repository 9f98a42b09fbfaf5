/** What is read out of messages from rooms and about them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatDecline,
  formatJoin,
  readInvite,
  readRoomMessage,
  readRoomPresence,
} from '../../../src/accounts/rooms/stanzas.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const NS_USER = 'http://jabber.org/protocol/muc#user';
const parse = (text: string) => parseFragment(text, { maxStanzaBytes: 10_000 });

test('an invitation through a room is read, with its password', () => {
  const invite = readInvite(
    parse(
      `<message from='R@Rooms.test'><x xmlns='${NS_USER}'><invite from='bob@b.test'><reason>tea</reason></invite>` +
        `<password>p</password></x><x xmlns='jabber:x:conference' jid='r@rooms.test'/></message>`,
    ),
  );
  const expected = { roomJid: 'r@rooms.test', from: 'bob@b.test', reason: 'tea', password: 'p' };
  assert.deepEqual(invite, { ...expected, isDirect: false });
});

test('an invitation from the inviter is read', () => {
  const invite = readInvite(
    parse(
      "<message from='bob@b.test/x'><x xmlns='jabber:x:conference' jid='R@rooms.test' reason='tea' password='p'/></message>",
    ),
  );
  const expected = { roomJid: 'r@rooms.test', from: 'bob@b.test/x', reason: 'tea', password: 'p' };
  assert.deepEqual(invite, { ...expected, isDirect: true });
});

test('who is no room does not invite as one, and other messages are no invitations', () => {
  const x = `<x xmlns='${NS_USER}'><invite from='bob@b.test'/></x>`;
  for (const from of ['r@rooms.test/bob', 'rooms.test', 'no jid@']) {
    assert.equal(readInvite(parse(`<message from='${from}'>${x}</message>`)), 'spoofed', from);
  }
  assert.equal(readInvite(parse(`<message>${x}</message>`)), 'spoofed');
  const others = [
    `<message from='r@rooms.test' type='error'>${x}</message>`,
    "<message from='bob@b.test/x'><body>hello</body></message>",
    "<message from='bob@b.test/x'><x xmlns='jabber:x:conference' jid='rooms.test'/></message>",
    "<message from='bob@b.test/x'><x xmlns='jabber:x:conference' jid='no jid@'/></message>",
    "<message from='bob@b.test/x'><x xmlns='jabber:x:conference'/></message>",
  ];
  for (const text of others) assert.equal(readInvite(parse(text)), null, text);
});

test('a message that sets the subject is told from one that has a subject', () => {
  const cases: [content: string, newSubject: string | null][] = [
    ['<subject>tea</subject>', 'tea'],
    ['<subject/>', ''],
    ['<subject>tea</subject><body>text</body>', null],
    ['<subject>tea</subject><thread>t</thread>', null],
    ['<body>text</body>', null],
  ];
  for (const [content, newSubject] of cases) {
    const message = parse(`<message from='r@rooms.test/bob' type='groupchat'>${content}</message>`);
    assert.equal(readRoomMessage(message).newSubject, newSubject, content);
  }
});

test('the ids of a message are those of its sender', () => {
  const message = parse(
    "<message from='r@rooms.test/bob' id='changed'><origin-id xmlns='urn:xmpp:sid:0' id='own'/></message>",
  );
  assert.deepEqual(readRoomMessage(message).ids, ['own', 'changed']);
  assert.equal(readRoomMessage(message).nick, 'bob');
});

test('presence that is no occupant has nothing to say', () => {
  assert.equal(readRoomPresence(parse("<presence from='r@rooms.test' type='subscribe'/>")), null);
});

test('what is sent is escaped', () => {
  const availability = { show: null, status: 'a < b' };
  const join = parse(formatJoin("r@rooms.test/O'Hara", '<p>', { seconds: 5 }, availability));
  assert.equal(join.attrs.to, "r@rooms.test/O'Hara");
  assert.equal(join.getChild('status')?.text(), 'a < b');
  const x = join.getChild('x', 'http://jabber.org/protocol/muc');
  assert.equal(x?.getChild('password')?.text(), '<p>');
  assert.equal(x?.getChild('history')?.attrs.seconds, '5');
  const decline = parse(formatDecline('r@rooms.test', "bob@b.test/'"));
  assert.equal(decline.getChild('x', NS_USER)?.getChild('decline')?.attrs.to, "bob@b.test/'");
});
