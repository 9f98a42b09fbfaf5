import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RejectError } from '../../../src/errors.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import {
  formatRosterRemove,
  formatRosterSet,
  isRosterPush,
  readRoster,
  readRosterPush,
} from '../../../src/xmpp/wire/roster.ts';

const iq = (content: string, type = 'result') =>
  parseFragment(
    `<iq type='${type}' id='x'><query xmlns='jabber:iq:roster'>${content}</query></iq>`,
  );

// RFC 6121 §2.1.4 and §3.4.1.
const ROSTER = `<item jid='romeo@example.net' name='Romeo' subscription='both'><group>Friends</group></item>
  <item jid='mercutio@example.com' name='Mercutio' subscription='from'/>
  <item jid='Benvolio@Example.net' name='' subscription='to' approved='true'/>
  <item jid='nurse@example.com' ask='subscribe' subscription='none'><group>a</group><group/><group>a</group></item>`;

test('a roster is read', () => {
  const none = { groups: [], ask: null, approved: false };
  assert.deepEqual(readRoster(iq(ROSTER)), [
    { ...none, jid: 'romeo@example.net', name: 'Romeo', groups: ['Friends'], subscription: 'both' },
    { ...none, jid: 'mercutio@example.com', name: 'Mercutio', subscription: 'from' },
    { ...none, jid: 'benvolio@example.net', name: null, subscription: 'to', approved: true },
    {
      ...none,
      jid: 'nurse@example.com',
      name: null,
      groups: ['a'],
      subscription: 'none',
      ask: 'subscribe',
    },
  ]);
  assert.deepEqual(readRoster(iq('')), []);
  assert.equal(readRoster(parseFragment("<iq type='result' id='x'/>")), null);
});

test('items without a JID are left out, and unknown words are none', () => {
  const odd =
    "<item/><item jid='@@'/><item jid='a@b' subscription='odd' ask='odd' approved='odd'/>";
  assert.deepEqual(readRoster(iq(odd)), [
    { jid: 'a@b', name: null, groups: [], subscription: 'none', ask: null, approved: false },
  ]);
});

test('a push has exactly one item', () => {
  const push = (content: string) => readRosterPush(iq(content, 'set'));
  assert.equal(push("<item jid='A@b/c' name='x' subscription='to'/>")?.item?.jid, 'a@b');
  assert.deepEqual(push("<item jid='a@b' subscription='remove'/>"), { jid: 'a@b', item: null });
  for (const content of ['', '<item/>', "<item jid='a@b'/><item jid='c@d'/>", '<x/>']) {
    assert.equal(push(content), null, content);
  }
  assert.ok(isRosterPush(iq('', 'set')));
  assert.ok(!isRosterPush(iq('')));
  assert.ok(!isRosterPush(parseFragment("<iq type='set'><query xmlns='urn:x'/></iq>")));
});

test('what is set is read the same', () => {
  const text = fc.string({ unit: 'binary' }).filter((value) => {
    try {
      formatRosterSet({ jid: 'a@b', name: value, groups: [] });
      return true;
    } catch {
      return false;
    }
  });
  fc.assert(
    fc.property(text, fc.uniqueArray(text.filter((value) => value !== '')), (name, groups) => {
      const written = formatRosterSet({ jid: 'a@b', name, groups });
      const push = readRosterPush(parseFragment(`<iq type='set'>${written}</iq>`));
      assert.deepEqual([push?.item?.name, push?.item?.groups], [name || null, groups]);
    }),
  );
  assert.deepEqual(readRosterPush(parseFragment(`<iq>${formatRosterRemove("a'<&@b")}</iq>`)), null);
});

test('what XML cannot carry is refused', () => {
  for (const [name, groups] of [
    ['\0', []],
    [null, ['\ufffe']],
  ] as const) {
    assert.throws(() => formatRosterSet({ jid: 'a@b', name, groups }), RejectError);
  }
});

test('no truncation is taken for a roster', () => {
  const whole = `<iq type='result' id='x'><query xmlns='jabber:iq:roster'>${ROSTER}</query></iq>`;
  for (let length = 0; length < whole.length; length += 1) {
    assert.throws(() => parseFragment(whole.slice(0, length)), RejectError);
  }
});
