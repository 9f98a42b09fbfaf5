import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xml } from '@xmpp/client';
import fc from 'fast-check';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import {
  formatInstantRoom,
  formatJoin,
  type OccupantPresence,
  readOccupantId,
  readOccupantJid,
  readRoomPresence,
  readSubject,
} from '../../../src/xmpp/wire/muc.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, legalName } from '../../support/xmlTree.ts';

const COVEN = 'coven@chat.shakespeare.lit';
const WITCH: OccupantPresence = {
  type: 'available',
  nick: 'thirdwitch',
  show: null,
  status: null,
  affiliation: 'member',
  role: 'participant',
  jid: null,
  occupantId: null,
  statusCodes: [],
  actor: null,
  reason: null,
  newNick: null,
  destroyed: null,
};
const AVAILABLE = { show: null, status: null };

const read = (text: string): OccupantPresence | null => {
  const presence = readRoomPresence(parseFragment(text));
  assert.ok(presence?.type !== 'error');
  return presence;
};
const presence = (content: string, attributes = "from='a@b/c'") =>
  read(
    `<presence ${attributes}><x xmlns='http://jabber.org/protocol/muc#user'>${content}</x></presence>`,
  );

/** The examples have who sends it, and an id: neither is stated by a client. */
const joinIn = (example: '0045-26' | '0045-36' | '0045-37') => {
  const stanza = parseFragment(xepExamples[example]);
  stanza.attrs = { to: stanza.attrs.to };
  return stanza;
};

test('a room is entered (XEP-0045, examples 26, 36 and 37)', () => {
  const join = { to: `${COVEN}/thirdwitch`, password: null, availability: AVAILABLE };
  assertSameXml(formatJoin({ ...join, history: { maxStanzas: 20 } }), joinIn('0045-36'));
  assertSameXml(formatJoin({ ...join, history: { seconds: 180 } }), joinIn('0045-37'));
  const withPassword = joinIn('0045-26');
  withPassword.getChild('x')?.append(xml('history', { maxstanzas: '0' }));
  assertSameXml(
    formatJoin({ ...join, password: 'cauldronburn', history: { maxStanzas: 0 } }),
    withPassword,
  );
});

test('what is written on entering is escaped', () => {
  fc.assert(
    fc.property(legalName, legalName, legalName, (nick, password, status) => {
      const to = `a@b/${nick}`;
      const availability = { show: 'away', status };
      const join = parseFragment(
        formatJoin({ to, password, history: { seconds: 5 }, availability }),
      );
      assert.equal(join.attrs.to, to);
      assert.equal(join.getChildText('status'), status);
      const x = join.getChild('x', 'http://jabber.org/protocol/muc');
      assert.equal(x?.getChildText('password'), password);
    }),
  );
});

test('a new room is opened as it is (XEP-0045 §10.1.2)', () => {
  assertSameXml(
    formatInstantRoom(),
    "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>",
  );
});

test('an occupant is read (XEP-0045, example 21; XEP-0421, example 4)', () => {
  assert.deepEqual(read(xepExamples['0045-21']), WITCH);
  assert.deepEqual(read(xepExamples['0421-4']), {
    ...WITCH,
    affiliation: 'none',
    role: 'none',
    occupantId: 'dd72603deec90a38ba552f7c68cbcc61bca202cd',
  });
});

test('a change of nick names the new one, which only 303 makes it (XEP-0045, example 50)', () => {
  assert.deepEqual(read(xepExamples['0045-50']), {
    ...WITCH,
    type: 'unavailable',
    jid: 'hag66@shakespeare.lit/pda',
    statusCodes: [303],
    newNick: 'oldhag',
  });
  assert.equal(presence("<item nick='d'/>")?.newNick, null);
  assert.equal(presence("<item nick=''/><status code='303'/>")?.newNick, null);
});

test('a kick says who and why (XEP-0045, example 90)', () => {
  assert.deepEqual(read(xepExamples['0045-90']), {
    ...WITCH,
    nick: 'pistol',
    type: 'unavailable',
    affiliation: 'none',
    role: 'none',
    statusCodes: [110, 307],
    actor: 'Fluellen',
    reason: 'Avaunt, you cullion!',
  });
  assert.equal(presence("<item><actor jid='d@e'/></item>")?.actor, 'd@e');
});

test('a room that is destroyed names another (XEP-0045, example 202)', () => {
  assert.deepEqual(read(xepExamples['0045-202'])?.destroyed, {
    alternate: COVEN,
    reason: 'Macbeth doth come.',
  });
  assert.deepEqual(presence('<destroy/>')?.destroyed, { alternate: null, reason: null });
});

test('roles and affiliations that are unknown count for none, codes that are no numbers for nothing', () => {
  const odd = presence(
    "<item affiliation='god' role='toString'/><status/><status code='a'/><status code='-1'/>" +
      "<status code='110'/>",
  );
  assert.deepEqual([odd?.affiliation, odd?.role, odd?.statusCodes], ['none', 'none', [110]]);
});

test('whom a stanza is from is told with the nick, in which slashes are allowed', () => {
  assert.deepEqual(readOccupantJid('A@B/c/d@e'), { room: 'a@b', nick: 'c/d@e' });
  assert.deepEqual(readOccupantJid('a@b'), { room: 'a@b', nick: null });
  for (const from of [undefined, '', '/c', 'a@b/', '@b']) assert.equal(readOccupantJid(from), null);
  assert.equal(presence('<item/>', "from='a@b'")?.nick, null);
  assert.deepEqual(read("<presence from='a@b/thirdwitch'/>"), {
    ...WITCH,
    affiliation: 'none',
    role: 'none',
  });
});

test('an error is the answer to a presence of ours, and a request to subscribe is none', () => {
  const refused = parseFragment(
    "<presence from='a@b/c' type='error'><error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
  );
  assert.deepEqual(readRoomPresence(refused), {
    type: 'error',
    error: { type: 'cancel', condition: 'conflict', text: null, by: null },
  });
  for (const type of ['subscribe', 'probe', 'toString']) {
    assert.equal(presence('<item/>', `from='a@b/c' type='${type}'`), null, type);
  }
});

test('an id of an occupant is not empty', () => {
  const id = (attributes: string) =>
    readOccupantId(
      parseFragment(
        `<message><occupant-id xmlns='urn:xmpp:occupant-id:0'${attributes}/></message>`,
      ),
    );
  assert.equal(id(" id='a'"), 'a');
  assert.equal(id(" id=''"), null);
  assert.equal(id(''), null);
});

test('a subject is told from a message that has one (XEP-0045, examples 40 and 41)', () => {
  const subject = (text: string) => readSubject(parseFragment(text));
  assert.equal(subject(xepExamples['0045-40']), 'Fire Burn and Cauldron Bubble!');
  assert.equal(subject(xepExamples['0045-41']), '');
  const message = (content: string, type = 'groupchat') =>
    subject(`<message type='${type}'>${content}</message>`);
  assert.equal(message('<subject>a</subject><body>b</body>'), null);
  assert.equal(message('<subject>a</subject><body/>'), null);
  assert.equal(message('<subject>a</subject><thread>b</thread>'), null);
  assert.equal(message('<subject>a</subject>', 'chat'), null);
  assert.equal(message(''), null);
});
