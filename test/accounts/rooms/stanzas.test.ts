/** What tells messages to all in a room from each other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRoomMessage } from '../../../src/accounts/rooms/stanzas.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const parse = (text: string) => parseFragment(text, { maxStanzaBytes: 10_000 });

test('the ids of a message are those of its sender', () => {
  const message = parse(
    "<message from='r@rooms.test/bob' id='changed'><origin-id xmlns='urn:xmpp:sid:0' id='own'/></message>",
  );
  assert.deepEqual(readRoomMessage(message).ids, ['own', 'changed']);
  assert.equal(readRoomMessage(message).nick, 'bob');
});
