/** Which messages invite to a room, and which only pretend to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readInvite } from '../../../src/accounts/rooms/invite.ts';
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
