/** What goes on the wire for a row that asks, and what its answer says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatRequestId, parseRequestId } from '../../../src/accounts/requests/requestId.ts';
import { buildRequest, readAnswer } from '../../../src/accounts/requests/stanzas.ts';
import { formatStanzaId, parseStanzaId } from '../../../src/accounts/stanzaId.ts';
import { RejectError } from '../../../src/errors.ts';
import { isFromAsked } from '../../../src/xmpp/wire/asked.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const KEY = { id: 7, insertedAtS: 1_800_000_000 };

test('the id of a request leads back to its row, and is never taken for that of a message', () => {
  const id = formatRequestId('secret', KEY);
  assert.equal(formatRequestId('secret', KEY), id);
  assert.deepEqual(parseRequestId('secret', id), KEY);
  assert.equal(parseRequestId('other', id), null);
  assert.equal(parseStanzaId('secret', id), null);
  assert.equal(parseStanzaId('secret', id.slice('iq.'.length)), null);
  // Who was sent a message knows its id, and learns nothing by it of the request with the same number.
  assert.equal(parseRequestId('secret', `iq.${formatStanzaId('secret', KEY)}`), null);
  assert.equal(parseRequestId('secret', formatStanzaId('secret', KEY)), null);
});

test('a request is written with its recipient in the normal form', () => {
  const row = { iqTo: ' Bob@Example.ORG/x ', iqType: 'set' as const, payload: " <a xmlns='b'/> " };
  const iq = parseFragment(buildRequest(row, 'i', 1_000));
  const { type, id, to } = iq.attrs;
  assert.deepEqual({ type, id, to }, { type: 'set', id: 'i', to: 'bob@example.org/x' });
  assert.ok(iq.getChild('a', 'b'));
  const own = parseFragment(buildRequest({ ...row, iqTo: null }, 'i', 1_000));
  assert.equal(own.attrs.to, undefined);
  assert.ok(buildRequest({ ...row, payload: "<p:a xmlns:p='b'/>" }, 'i', 1_000));
});

test('what cannot be sent is refused with its column', () => {
  const row = { iqTo: null, iqType: 'get' as const, payload: "<a xmlns='b'/>" };
  const bad: [change: Partial<typeof row> | { iqTo: string }, condition: string, reason: RegExp][] =
    [
      [{ iqTo: '' }, 'jid-malformed', /iq_to is no JID/],
      [{ payload: '<a/>' }, 'bad-request', /no namespace of its own/],
      [{ payload: "<iq xmlns='jabber:client'/>" }, 'bad-request', /no namespace of its own/],
      [{ payload: "<a xmlns='b'/><a xmlns='b'/>" }, 'bad-request', /the XML is refused/],
      [{ payload: `<a xmlns='b'>${'x'.repeat(900)}</a>` }, 'policy-violation', /1000? bytes|bytes/],
    ];
  for (const [change, condition, reason] of bad) {
    assert.throws(
      () => buildRequest({ ...row, ...change }, 'an id', 940),
      (error) =>
        error instanceof RejectError && error.condition === condition && reason.test(error.message),
    );
  }
});

test('an answer is read, whatever it lacks', () => {
  const stanzas = 'urn:ietf:params:xml:ns:xmpp-stanzas';
  const read = (xml: string) => {
    const { response, ...rest } = readAnswer(parseFragment(xml));
    assert.ok(response.startsWith('<iq'));
    return rest;
  };
  const none = { errorType: null, errorCondition: null, errorText: null };
  assert.deepEqual(read("<iq type='result'/>"), { state: 'delivered', info: null, ...none });
  assert.deepEqual(
    read(
      `<iq type='error'><a xmlns='b'/><error type='modify'><text xmlns='${stanzas}'>t</text>` +
        `<more xmlns='c'/><gone xmlns='${stanzas}'/></error></iq>`,
    ),
    {
      state: 'failed',
      info: 'gone: t',
      errorType: 'modify',
      errorCondition: 'gone',
      errorText: 't',
    },
  );
  assert.deepEqual(read("<iq type='error'/>"), {
    state: 'failed',
    info: 'undefined-condition',
    errorType: 'cancel',
    errorCondition: 'undefined-condition',
    errorText: null,
  });
});

test('an answer comes from whom was asked; for the account itself from its server (RFC 6120 §8.1.2.1)', () => {
  const own = 'me@here';
  const cases: [to: string | null, from: string | undefined, isRight: boolean][] = [
    ['bob@there/x', 'BOB@There/x', true],
    ['bob@there/x', 'bob@there', false],
    ['bob@there', 'bob@there/x', false],
    ['bob@there', undefined, false],
    ['here', 'here', true],
    ['here', undefined, false],
    [null, undefined, true],
    [null, own, true],
    [null, `${own}/r`, true],
    [null, 'here', false],
    [null, 'eve@here', false],
    ['ME@here', undefined, true],
    ['ME@here', 'eve@here', false],
    ['me@here/r', undefined, false],
    ['not a jid@', undefined, false],
    [null, 'not a jid@', false],
  ];
  for (const [to, from, isRight] of cases) {
    assert.equal(isFromAsked(to, from, own), isRight, `${to} ${from}`);
  }
});
