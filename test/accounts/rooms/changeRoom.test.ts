/** What presence from a room changes, by its status codes (XEP-0045 §15.6). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  changeRoom,
  decideRetryMs,
  type Occupant,
  type RoomChange,
  type Standing,
} from '../../../src/accounts/rooms/changeRoom.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { readRoomPresence } from '../../../src/xmpp/wire/muc.ts';

const NS_USER = 'http://jabber.org/protocol/muc#user';
const IN: Standing = { nick: 'me', isIn: true, hasPassword: false, mayHaveGhost: false };
const JOINING: Standing = { ...IN, isIn: false };

const read = (nick: string, content: string, type?: string) => {
  const typed = type ? ` type='${type}'` : '';
  const presence = readRoomPresence(
    parseFragment(
      `<presence from='r@rooms.test${nick && `/${nick}`}'${typed}>${content}</presence>`,
      {
        maxStanzaBytes: 10_000,
      },
    ),
  );
  assert.ok(presence);
  return presence;
};
const user = (codes: number[], item = "<item role='participant' affiliation='none'/>") =>
  `<x xmlns='${NS_USER}'>${item}${codes.map((code) => `<status code='${code}'/>`).join('')}</x>`;
const someone = (nick: string): Occupant => ({
  nick,
  jid: null,
  role: 'participant',
  affiliation: 'none',
  show: null,
  status: null,
  occupantId: null,
});

test('who comes, goes and changes the nick', () => {
  const changes: [
    presence: ReturnType<typeof read>,
    standing: Standing,
    change: RoomChange | null,
  ][] = [
    [read('bob', user([])), IN, { kind: 'present', occupant: someone('bob') }],
    [read('me', user([110])), JOINING, { kind: 'in', occupant: someone('me'), isNew: false }],
    [read('me', user([110, 201])), JOINING, { kind: 'in', occupant: someone('me'), isNew: true }],
    [read('me', user([])), JOINING, { kind: 'in', occupant: someone('me'), isNew: false }],
    [
      read('other', user([110, 210])),
      JOINING,
      { kind: 'in', occupant: someone('other'), isNew: false },
    ],
    [read('bob', user([]), 'unavailable'), IN, { kind: 'absent', nick: 'bob' }],
    [
      read(
        'bob',
        user([303], "<item nick='rob' role='participant' affiliation='none'/>"),
        'unavailable',
      ),
      IN,
      { kind: 'renamed', from: 'bob', to: 'rob' },
    ],
    [
      read(
        'me',
        user([303, 110], "<item nick='I' role='participant' affiliation='none'/>"),
        'unavailable',
      ),
      IN,
      { kind: 'renamed', from: 'me', to: 'I' },
    ],
    [read('bob', user([307]), 'unavailable'), IN, { kind: 'absent', nick: 'bob' }],
    [read('me', user([110]), 'unavailable'), JOINING, null],
    [read('', user([104])), IN, null],
  ];
  for (const [presence, standing, change] of changes) {
    assert.deepEqual(changeRoom(presence, standing), change);
  }
});

test('what is known of an occupant is read', () => {
  const presence = read(
    'bob',
    "<show>dnd</show><status>busy</status><occupant-id xmlns='urn:xmpp:occupant-id:0' id='o1'/>" +
      user([], "<item jid='bob@b.test/x' role='moderator' affiliation='owner'/>"),
  );
  assert.deepEqual(changeRoom(presence, IN), {
    kind: 'present',
    occupant: {
      nick: 'bob',
      jid: 'bob@b.test/x',
      role: 'moderator',
      affiliation: 'owner',
      show: 'dnd',
      status: 'busy',
      occupantId: 'o1',
    },
  });
});

const ITEM =
  "<item role='none' affiliation='none'><actor nick='bob'/><reason>why not</reason></item>";

test('why one is out, and whether that may pass', () => {
  const exits: [codes: number[], mayPass: boolean, info: string][] = [
    [[301, 110], false, 'banned by bob: why not'],
    [[307, 110], false, 'kicked by bob: why not'],
    [[307, 333], true, 'removed for technical reasons by bob: why not'],
    [[321], false, 'no longer a member by bob: why not'],
    [[322], false, 'the room is for members only now by bob: why not'],
    [[332], true, 'the room is shut down by bob: why not'],
    [[333], true, 'removed for technical reasons by bob: why not'],
    [[110], true, 'the room took the account out'],
  ];
  for (const [codes, mayPass, info] of exits) {
    const presence = read('me', user(codes, ITEM), 'unavailable');
    assert.deepEqual(changeRoom(presence, IN), { kind: 'out', mayPass, info });
  }
  const destroyed = read(
    'me',
    user([110], "<item role='none'/><destroy jid='n@rooms.test'><reason>moved</reason></destroy>"),
    'unavailable',
  );
  assert.deepEqual(changeRoom(destroyed, IN), {
    kind: 'out',
    mayPass: false,
    info: 'the room was destroyed, go to n@rooms.test: moved',
  });
});

const failing = (condition: string, type = 'cancel', nick = 'me') =>
  read(
    nick,
    `<error type='${type}'><${condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>`,
    'error',
  );

test('why one is not let in, and whether that may pass', () => {
  const ghost = { ...JOINING, mayHaveGhost: true };
  const refusals: [
    presence: ReturnType<typeof read>,
    standing: Standing,
    mayPass: boolean,
    info: RegExp,
  ][] = [
    [failing('not-authorized', 'auth'), JOINING, false, /wants a password/],
    [failing('not-authorized', 'auth'), { ...JOINING, hasPassword: true }, false, /not that of/],
    [failing('registration-required', 'auth'), JOINING, false, /members only/],
    [failing('forbidden', 'auth'), JOINING, false, /banned/],
    [failing('conflict'), JOINING, false, /'me' is taken$/],
    [failing('conflict'), ghost, true, /last session/],
    [failing('item-not-found'), JOINING, false, /locked/],
    [failing('not-allowed'), JOINING, false, /may not make it/],
    [failing('not-acceptable'), JOINING, false, /registered nick/],
    [failing('service-unavailable', 'wait'), JOINING, true, /full/],
    [failing('resource-constraint', 'wait'), JOINING, true, /resource-constraint/],
    [failing('internal-server-error', 'wait'), JOINING, true, /internal/],
    [failing('remote-server-timeout'), JOINING, true, /remote-server-timeout/],
    [failing('jid-malformed', 'modify', ''), JOINING, false, /jid-malformed/],
  ];
  for (const [presence, standing, mayPass, info] of refusals) {
    const change = changeRoom(presence, standing);
    assert.equal(change?.kind, 'out');
    if (change?.kind !== 'out') continue;
    assert.equal(change.mayPass, mayPass, change.info);
    assert.match(change.info, info);
  }
});

test('a nick that is not given leaves one where one is', () => {
  const change = changeRoom(failing('conflict', 'cancel', 'bob'), { ...IN, nick: 'bob' });
  assert.deepEqual(change, { kind: 'nickRefused', info: "the nick 'bob' is taken" });
});

test('waits grow, are never longer than five minutes, and differ', () => {
  assert.deepEqual(
    [0, 1, 2, 9].map((failures) => decideRetryMs(failures, 1_000, 1)),
    [1_000, 2_000, 4_000, 300_000],
  );
  assert.equal(decideRetryMs(0, 1_000, 0), 500);
});
