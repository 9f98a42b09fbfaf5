/** Carbons and results of the archive: what is believed of them, and what of it is kept. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  readArchiveCopy,
  readCarbon,
  readCarbonCopy,
  readResult,
  readSentId,
} from '../../../src/accounts/archive/copy.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const OWN = 'me@a.test';
const CARBONS = 'urn:xmpp:carbons:2';
const SENT = "from='me@a.test/phone' to='bob@b.test'";
const RECEIVED = "from='bob@b.test/x' to='me@a.test/phone'";
const reader = { ownJid: OWN, isRowId: (id: string) => id === 'row' };

const forward = (message: string, delay = '') =>
  `<forwarded xmlns='urn:xmpp:forward:0'>${delay}${message}</forwarded>`;
const message = (attributes: string, content = '<body>hi</body>') =>
  `<message xmlns='jabber:client' type='chat' ${attributes}>${content}</message>`;
const carbon = (kind: string, inner: string, from = `from='${OWN}'`) =>
  parseFragment(
    `<message ${from} to='${OWN}/rowgram'><${kind} xmlns='${CARBONS}'>${inner}</${kind}></message>`,
  );
const result = (inner: string, attributes = "queryid='q' id='a1'", from = '') =>
  parseFragment(
    `<message ${from}><result xmlns='urn:xmpp:mam:2' ${attributes}>${inner}</result></message>`,
  );
const DELAY = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05Z'/>";
const NESTED = `<received xmlns='${CARBONS}'>${forward(message(RECEIVED))}</received>`;
const MARKER = "<displayed xmlns='urn:xmpp:chat-markers:0' id='row'/>";
const RECEIPT = "<received xmlns='urn:xmpp:receipts' id='row'/>";

test('a carbon comes from the own bare JID, and no one else', () => {
  for (const kind of ['sent', 'received'] as const) {
    const inner = forward(message(kind === 'sent' ? SENT : RECEIVED));
    const read = readCarbon(carbon(kind, inner), OWN);
    assert.ok(read && 'kind' in read);
    assert.equal(read.kind, kind);
    assert.equal(read.message.attrs.xmlns, 'jabber:client');
    const ofCapitals = readCarbon(carbon(kind, inner, "from='Me@A.test'"), OWN);
    assert.ok(ofCapitals && 'kind' in ofCapitals);
    for (const from of [
      '',
      "from='bob@b.test'",
      "from='bob@b.test/x'",
      "from='me@a.test/phone'",
      "from='me@a.test/'",
      "from='a.test'",
      "from='me@a.test.b.test'",
      "from='@@'",
      "from=''",
    ]) {
      const forged = readCarbon(carbon(kind, inner, from), OWN);
      assert.ok(forged && 'claim' in forged, `${kind} ${from}`);
    }
  }
});

test('a carbon of nothing, and one sent by another, are not believed', () => {
  const cases = [
    carbon('sent', ''),
    carbon('received', '<forwarded/>'),
    carbon('received', forward('')),
    carbon('received', forward("<presence xmlns='jabber:client'/>")),
    carbon('sent', forward(message(RECEIVED))),
    carbon('sent', forward(message('to="bob@b.test"'))),
    carbon('sent', forward(message(SENT, NESTED))),
    carbon('received', forward(message(RECEIVED, NESTED))),
    carbon('received', forward(message(RECEIVED, "<result xmlns='urn:xmpp:mam:2'/>"))),
  ];
  for (const stanza of cases) {
    const read = readCarbon(stanza, OWN);
    assert.ok(read && 'claim' in read, stanza.toString());
  }
});

test('what is in another place is no carbon', () => {
  for (const text of [
    message(RECEIVED),
    `<message from='${OWN}'><received xmlns='urn:xmpp:receipts' id='1'/></message>`,
    `<message from='${OWN}'><x><sent xmlns='${CARBONS}'/></x></message>`,
  ]) {
    assert.equal(readCarbon(parseFragment(text), OWN), null, text);
  }
});

const readOf = (kind: 'sent' | 'received', inner: string) => {
  const read = readCarbon(carbon(kind, forward(inner)), OWN);
  assert.ok(read && 'kind' in read);
  return readCarbonCopy(read, reader);
};

test('a carbon is a row with the addresses of the message, and its archive id', () => {
  const id = `<stanza-id xmlns='urn:xmpp:sid:0' by='${OWN}' id='s1'/>`;
  const sent = readOf('sent', message(`${SENT} id='i1'`, `<body>out</body>${id}`));
  assert.partialDeepStrictEqual(sent, {
    incoming: {
      carbon: 'sent',
      from: 'me@a.test/phone',
      to: 'bob@b.test',
      body: 'out',
      id: 'i1',
      archiveId: 's1',
    },
    report: null,
  });
  assert.match(sent.incoming?.stanza ?? '', /^<message xmlns="jabber:client"/);
  const received = readOf('received', message(RECEIVED, `<body>in</body>${id}`));
  assert.partialDeepStrictEqual(received, {
    incoming: { carbon: 'received', from: 'bob@b.test/x', to: 'me@a.test/phone', archiveId: 's1' },
  });
});

test('a carbon of a row of ours is none; an id alone does not make one', () => {
  assert.equal(readOf('sent', message(`${SENT} id='row'`)).incoming, null);
  assert.equal(readOf('sent', message(`${SENT} id='other'`)).incoming?.carbon, 'sent');
  // Another account of this daemon has sent it.
  assert.equal(readOf('received', message(`${RECEIVED} id='row'`)).incoming?.carbon, 'received');
});

test('receipts and markers in carbons report only when others have sent them', () => {
  for (const content of [MARKER, RECEIPT]) {
    assert.deepEqual(readOf('sent', message(SENT, content)), { incoming: null, report: null });
    const { incoming, report } = readOf('received', message(RECEIVED, content));
    assert.equal(incoming, null);
    assert.partialDeepStrictEqual(report, { id: 'row', from: 'bob@b.test/x' });
  }
  const state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
  assert.deepEqual(readOf('received', message(RECEIVED, state)), { incoming: null, report: null });
  const error = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
  const type = "<message xmlns='jabber:client' type='error' id='row'";
  assert.deepEqual(readOf('sent', `${type} ${SENT}>${error}</message>`), {
    incoming: null,
    report: null,
  });
});

test('a result counts only from the own archive, for a query under way', () => {
  const inner = forward(message(RECEIVED), DELAY);
  const isAsked = (queryId: string) => queryId === 'q';
  for (const from of ['', "from='me@a.test'", "from='ME@a.test'"]) {
    const read = readResult(result(inner, undefined, from), OWN, isAsked);
    assert.ok(read && 'id' in read, from);
    assert.deepEqual([read.id, read.archivedAt?.getTime()], ['a1', Date.UTC(2026, 0, 2, 3, 4, 5)]);
  }
  const forged = [
    result(inner, undefined, "from='bob@b.test'"),
    result(inner, undefined, "from='me@a.test/phone'"),
    result(inner, undefined, "from='a.test'"),
    result(inner, undefined, "from=''"),
    result(inner, "queryid='other' id='a1'"),
    result(inner, "id='a1'"),
    result(inner, "queryid='q'"),
    result('', "queryid='q' id='a1'"),
    result(inner, `queryid='q' id='${'a'.repeat(1_001)}'`),
  ];
  for (const stanza of forged) {
    const read = readResult(stanza, OWN, isAsked);
    assert.ok(read && 'claim' in read, stanza.toString().slice(0, 200));
  }
  assert.equal(readResult(parseFragment(message(RECEIVED)), OWN, isAsked), null);
});

const copyOf = (inner: string, delay = DELAY) => {
  const read = readResult(result(forward(inner, delay)), OWN, () => true);
  assert.ok(read && 'id' in read);
  return readArchiveCopy(read, reader);
};

test('an archived message has the id and the time of the archive', () => {
  const forgedId = `<stanza-id xmlns='urn:xmpp:sid:0' by='${OWN}' id='forged'/>`;
  const forgedDelay = "<delay xmlns='urn:xmpp:delay' stamp='2001-01-01T00:00:00Z'/>";
  const content = `<body>in</body>${forgedId}${forgedDelay}`;
  const delayedAt = new Date('2026-01-02T03:04:05Z');
  assert.partialDeepStrictEqual(copyOf(message(RECEIVED, content)).incoming, {
    archiveId: 'a1',
    carbon: null,
    body: 'in',
    delayedAt,
  });
  const { incoming } = copyOf(message(SENT));
  assert.partialDeepStrictEqual(incoming, { archiveId: 'a1', carbon: 'sent', delayedAt });
});

test('of the archive are not kept: rows of ours, those of rooms, signals of the moment', () => {
  const nothing = { incoming: null, report: null };
  assert.deepEqual(copyOf(message(`${SENT} id='row'`)), nothing);
  assert.deepEqual(copyOf(message(SENT, MARKER)), nothing);
  assert.deepEqual(copyOf(message(RECEIVED, NESTED)), nothing);
  assert.deepEqual(
    copyOf(
      "<message xmlns='jabber:client' type='groupchat' from='r@c.test/n'><body>x</body></message>",
    ),
    nothing,
  );
  assert.equal(copyOf(message(`${RECEIVED} id='row'`)).incoming?.id, 'row');
  assert.partialDeepStrictEqual(copyOf(message(RECEIVED, RECEIPT)), {
    incoming: null,
    report: { kind: 'delivered', id: 'row' },
  });
});

test('only what the account has sent can be a row that has arrived', () => {
  const read = (text: string) => readSentId(parseFragment(text), OWN);
  assert.equal(read(message(`${SENT} id='row'`)), 'row');
  assert.equal(read(message(SENT)), null);
  assert.equal(read(message(`${RECEIVED} id='row'`)), null);
  assert.equal(read(message("id='row'")), null);
});
