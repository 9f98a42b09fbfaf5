/** What a message to all in a room is to one who is in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeSaid, type Listener, seenKey } from '../../../src/accounts/rooms/said.ts';
import { readMessage } from '../../../src/accounts/stanzas.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const ROOM = 'tea@rooms.test';
const LISTENER: Listener = {
  ownNicks: ['me', null],
  isRowId: (id) => id === 'ours',
  seen: null,
  isNewcomer: false,
};
const DELAY = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>";

const read = (content: string, { nick = 'eve', id = 'a' } = {}) => {
  const from = nick === '' ? ROOM : `${ROOM}/${nick}`;
  const message = parseFragment(
    `<message type='groupchat' from='${from}' id='${id}'>${content}</message>`,
  );
  return { message, incoming: readMessage(message, ROOM).incoming };
};
const judge = (content: string, sender = {}, listener: Partial<Listener> = {}) => {
  const { message, incoming } = read(content, sender);
  return judgeSaid(message, incoming, { ...LISTENER, ...listener });
};

test('what has an id of ours and our nick is our own, wherever the id stands', () => {
  const own = { kind: 'own', id: 'ours' };
  const originId = "<origin-id xmlns='urn:xmpp:sid:0' id='ours'/>";
  assert.deepEqual(judge('<body>b</body>', { nick: 'me', id: 'ours' }), own);
  assert.deepEqual(judge(`<body>b</body>${originId}`, { nick: 'me', id: 'changed' }), own);
  assert.deepEqual(judge('<subject>s</subject>', { nick: 'me', id: 'ours' }), own);
  assert.equal(judge('<body>b</body>', { nick: 'eve', id: 'ours' }).kind, 'new');
  assert.equal(judge('<body>b</body>', { nick: '', id: 'ours' }).kind, 'new');
  assert.equal(judge('<body>b</body>', { nick: 'me', id: 'of another client' }).kind, 'new');
});

test("a subject and the room's own notices are no rows; what it says in words is", () => {
  assert.equal(judge('<subject>s</subject>').kind, 'nothing');
  assert.equal(judge("<x xmlns='urn:x'/>", { nick: '' }).kind, 'nothing');
  assert.equal(judge('<body>b</body>', { nick: '' }).kind, 'new');
  assert.equal(judge("<x xmlns='urn:x'/>").kind, 'new');
});

test('what is told again is nothing new, and to a newcomer all that was said before', () => {
  const content = `<body>b</body>${DELAY}`;
  const { incoming } = read(content);
  assert.ok(incoming);
  const seen = new Set([seenKey(incoming)]);
  assert.equal(judge(content, {}, { seen }).kind, 'nothing');
  assert.equal(judge(content, { id: 'b' }, { seen }).kind, 'new');
  // Said now, though as before.
  assert.equal(judge('<body>b</body>', {}, { seen }).kind, 'new');
  const before = { kind: 'before', key: seenKey(incoming) };
  assert.deepEqual(judge(content, {}, { isNewcomer: true }), before);
  assert.equal(judge('<body>b</body>', {}, { isNewcomer: true }).kind, 'new');
});
