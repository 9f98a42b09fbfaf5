/** What the presence of others says of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readNotice, readSender } from '../../../src/accounts/presences/stanzas.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const read = (content: string, attributes = "from='A@b/c'") =>
  readNotice(parseFragment(`<presence ${attributes}>${content}</presence>`));
const PLAIN = {
  jid: 'a@b/c',
  bareJid: 'a@b',
  show: null,
  status: null,
  priority: 0,
  avatarHash: null,
};

test('an available client is told with all that it says', () => {
  assert.deepEqual(read(''), { kind: 'available', presence: PLAIN });
  const hash = 'a'.repeat(40);
  const full = `<show> dnd </show><status>x</status><priority> -5 </priority>
    <x xmlns='vcard-temp:x:update'><photo>${hash.toUpperCase()}</photo></x>`;
  assert.deepEqual(read(full), {
    kind: 'available',
    presence: { ...PLAIN, show: 'dnd', status: 'x', priority: -5, avatarHash: hash },
  });
});

test('what is out of range or unknown is as if it were not said', () => {
  const fields = (content: string) => {
    const notice = read(content);
    assert.equal(notice?.kind, 'available');
    return notice?.kind === 'available' ? notice.presence : PLAIN;
  };
  for (const priority of ['128', '-129', 'x', '', '1e2', '1 2', '99999999999']) {
    assert.equal(fields(`<priority>${priority}</priority>`).priority, 0, priority);
  }
  assert.equal(fields('<show>busy</show>').show, null);
  const photo = (content: string) =>
    fields(`<x xmlns='vcard-temp:x:update'>${content}</x>`).avatarHash;
  assert.equal(photo('<photo/>'), '');
  assert.equal(photo(''), null);
  assert.equal(photo('<photo>no hash</photo>'), null);
});

test('one is gone when it says so, and when it cannot be reached', () => {
  const address = { jid: 'a@b/c', bareJid: 'a@b' };
  assert.deepEqual(read('', "from='a@b/c' type='unavailable'"), {
    kind: 'gone',
    address,
    error: null,
  });
  const stanzas = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'";
  const error = `<error><gone ${stanzas}/><text ${stanzas}>moved</text></error>`;
  assert.deepEqual(read(error, "from='a@b/c' type='error'"), {
    kind: 'gone',
    address,
    error: 'gone (moved)',
  });
});

test('subscriptions, rooms and senders that are none are of no concern', () => {
  for (const type of ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed', 'probe', 'odd']) {
    assert.equal(read('', `from='a@b' type='${type}'`), null);
  }
  for (const attributes of ["from='@@'", "from=''", '']) assert.equal(read('', attributes), null);
  assert.equal(read("<x xmlns='http://jabber.org/protocol/muc#user'/>"), null);
  assert.equal(
    read("<x xmlns='http://jabber.org/protocol/muc'/>", "from='a@b/c' type='error'"),
    null,
  );
});

test('a resource that is no longer allowed still tells clients apart', () => {
  assert.deepEqual(readSender('A@B/phone\ufe0f'), { jid: 'a@b/phone\ufe0f', bareJid: 'a@b' });
  assert.deepEqual(readSender('A@B'), { jid: 'a@b', bareJid: 'a@b' });
  assert.equal(readSender('/x'), null);
});
