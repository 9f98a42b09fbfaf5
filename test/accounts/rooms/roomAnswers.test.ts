/** What a room's answers say about it and about the account. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStillIn, mayBeRoom, readHasArchive } from '../../../src/accounts/rooms/roomAnswers.ts';
import { RejectError, RetryError } from '../../../src/errors.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

test('a room says whether it has an archive, and another address that it is no room', () => {
  const read = (content: string) =>
    readHasArchive(
      parseFragment(
        `<iq type='result'><query xmlns='http://jabber.org/protocol/disco#info'>${content}</query></iq>`,
      ),
    );
  const room = "<identity category='conference' type='text'/>";
  assert.equal(read(`${room}<feature var='urn:xmpp:mam:2'/>`), true);
  assert.equal(read(room), false);
  assert.equal(readHasArchive(parseFragment("<iq type='result'/>")), false);
  for (const content of ['', "<identity category='client' type='pc'/>"]) {
    assert.throws(() => read(content), { name: 'RejectError', condition: 'no-room' });
  }
});

test('some refusals leave hope of a room, others do not', () => {
  assert.equal(mayBeRoom(new RejectError('', 'item-not-found')), true);
  for (const condition of ['no-room', 'remote-server-not-found', 'subscription-required']) {
    assert.equal(mayBeRoom(new RejectError('', condition)), false);
  }
  assert.equal(mayBeRoom(new RetryError('', 0)), false);
});

test('who gets no ping through a room may be in it; who is told so is not (XEP-0410 §3.2)', () => {
  assert.equal(isStillIn(new RejectError('', 'service-unavailable')), true);
  assert.equal(isStillIn(new RejectError('', 'not-acceptable')), false);
  assert.equal(isStillIn(new RetryError('', 0)), false);
});
