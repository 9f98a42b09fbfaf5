/** A visit to a room, with a line that answers as the test says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { DatabasePool } from 'slonik';
import type { Line, Taken } from '../../../src/accounts/part.ts';
import type { RoomRow } from '../../../src/accounts/rooms/store.ts';
import { createVisit } from '../../../src/accounts/rooms/visit.ts';
import type { Account } from '../../../src/accounts/store.ts';
import { RejectError, RetryError } from '../../../src/errors.ts';
import type { Question } from '../../../src/xmpp/requester.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { silentLog } from '../../support/silentLog.ts';

const ROOM = 'tea@rooms.test';
const ROW: RoomRow = {
  id: 7,
  roomJid: ROOM,
  nick: null,
  password: null,
  enabled: true,
  state: 'pending',
  stateInfo: null,
  ownNick: null,
};
const NS_USER = 'http://jabber.org/protocol/muc#user';
const parse = (text: string) => parseFragment(text, { maxStanzaBytes: 10_000 });
const ownPresence = parse(
  `<presence from='${ROOM}/me'><x xmlns='${NS_USER}'><item role='participant' affiliation='none'/>` +
    `<status code='110'/></x></presence>`,
);
const subject = parse(`<message from='${ROOM}' type='groupchat'><subject/></message>`);

const createBench = (answer: (question: Question) => Error | null, roomSilenceMs = 20) => {
  const sent: string[] = [];
  const asked: string[] = [];
  const calls: string[] = [];
  const distrusted: string[] = [];
  // What a visit uses of a line; the table says that the room was never entered.
  const line = {
    accountId: 1,
    account: () => ({ show: null, status: null }) as Account,
    ownJid: () => 'me@b.test',
    db: { maybeOne: async () => null, any: async () => [] } as unknown as DatabasePool,
    log: silentLog,
    send: (stanza: string) => void sent.push(stanza),
    async request(question: Question) {
      asked.push(question.payload);
      const error = answer(question);
      if (error) throw error;
      return parse('<iq/>');
    },
    store: ({ onStored }: Taken) => onStored?.(),
    distrust: (_stanza: unknown, claim: string) => void distrusted.push(claim),
    hasten: () => void calls.push('hasten'),
    readRowId: (text: string) => (text === 'ours' ? { id: 1, insertedAtS: 2 } : null),
    reflect: (id: string) => void calls.push(`reflect ${id}`),
    abandon: () => void calls.push('abandon'),
  } as unknown as Line;
  const visit = createVisit(line, ROOM, ROW, { roomSilenceMs, roomRetryMs: 10 });
  const take = (taken: Taken | null) => taken?.onStored?.();
  const enter = async () => {
    visit.want(ROW);
    await delay(5);
    take(visit.takePresence(ownPresence));
    take(visit.takeMessage(subject));
  };
  const joins = () => sent.filter((text) => text.includes('protocol/muc')).length;
  return { visit, sent, asked, calls, distrusted, enter, take, joins };
};
const pings = (asked: string[]) => asked.filter((text) => text.includes('ping')).length;
const silent = () => null;

test('a room may be written to once what was said before has been seen', async (t) => {
  const { visit, calls, take } = createBench(silent);
  t.after(() => visit.close());
  assert.throws(() => visit.admit(), RetryError);
  visit.want(ROW);
  await delay(5);
  take(visit.takePresence(ownPresence));
  assert.throws(() => visit.admit(), RetryError);
  const shown = `<message from='${ROOM}/me' type='groupchat' id='ours'><body>b</body></message>`;
  take(visit.takeMessage(parse(shown)));
  take(visit.takeMessage(subject));
  visit.admit();
  // In this order: first what was sent before goes out again, then what waited.
  assert.deepEqual(calls, ['reflect ours', 'abandon', 'hasten']);
});

test("only a message of one's own nick and with an id of ours is one's own", async (t) => {
  const { visit, enter } = createBench(silent);
  t.after(() => visit.close());
  await enter();
  const read = (nick: string, id: string) =>
    visit.takeMessage(
      parse(`<message from='${ROOM}/${nick}' type='groupchat' id='${id}'><body>b</body></message>`),
    );
  assert.equal(read('me', 'ours')?.incoming, undefined);
  assert.equal(read('me', 'ours')?.report?.kind, 'submitted');
  assert.equal(read('eve', 'ours')?.incoming?.body, 'b');
  assert.equal(read('eve', 'ours')?.report, undefined);
  assert.equal(read('me', 'of another client')?.incoming?.body, 'b');
});

test('a silent room is asked whether it still knows the account; if not, it is entered again', async (t) => {
  let isKnown = true;
  const { visit, asked, enter, joins } = createBench(({ payload }) =>
    payload.includes('ping') && !isKnown ? new RejectError('not in', 'not-acceptable') : null,
  );
  t.after(() => visit.close());
  await enter();
  await delay(100);
  assert.ok(pings(asked) >= 2);
  assert.equal(joins(), 1);
  isKnown = false;
  await delay(100);
  assert.equal(joins(), 2);
  assert.throws(() => visit.admit(), RetryError);
});

test('errors that only say that nobody answers pings leave the account in', async (t) => {
  for (const condition of ['service-unavailable', 'feature-not-implemented', 'item-not-found']) {
    const { visit, asked, enter, joins } = createBench(({ payload }) =>
      payload.includes('ping') ? new RejectError('no', condition) : null,
    );
    t.after(() => visit.close());
    await enter();
    await delay(60);
    assert.ok(pings(asked) >= 1);
    assert.equal(joins(), 1, condition);
    visit.admit();
  }
});

test('a stream that goes on: the room is asked first, and not entered again', async (t) => {
  const { visit, asked, calls, enter, joins } = createBench(silent, 60_000);
  t.after(() => visit.close());
  await enter();
  calls.length = 0;
  visit.suspend();
  assert.throws(() => visit.admit(), RetryError);
  visit.resume(true);
  assert.throws(() => visit.admit(), RetryError);
  await delay(5);
  visit.admit();
  assert.deepEqual([pings(asked), joins()], [1, 1]);
  assert.deepEqual(calls, ['abandon', 'hasten']);
});

test('a new stream: the room is entered again', async (t) => {
  const { visit, enter, joins } = createBench(silent);
  t.after(() => visit.close());
  await enter();
  visit.suspend();
  visit.resume(false);
  visit.want({ ...ROW, state: 'joined' });
  await delay(5);
  assert.equal(joins(), 2);
});

test('a room that says one is not in it is entered again, and the row is not to blame', async (t) => {
  const { visit, enter, take, joins } = createBench(silent, 60_000);
  t.after(() => visit.close());
  await enter();
  const bounce = (from: string, id: string) =>
    visit.takeMessage(
      parse(
        `<message from='${from}' type='error' id='${id}'><error type='modify'>` +
          `<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`,
      ),
    );
  assert.equal(bounce(`${ROOM}/eve`, 'ours'), null);
  assert.equal(bounce(ROOM, 'of another'), null);
  visit.admit();
  take(bounce(ROOM, 'ours'));
  assert.throws(() => visit.admit(), RetryError);
  await delay(50);
  assert.equal(joins(), 2);
});

test('results that were not asked for are nothing', async (t) => {
  const { visit, enter } = createBench(silent);
  t.after(() => visit.close());
  await enter();
  const result = parse(
    `<message from='${ROOM}'><result xmlns='urn:xmpp:mam:2' id='a' queryid='q'><forwarded xmlns='urn:xmpp:forward:0'>` +
      `<message xmlns='jabber:client' from='${ROOM}/eve' type='groupchat'><body>b</body></message></forwarded></result></message>`,
  );
  assert.deepEqual(visit.takeMessage(result), {});
});
