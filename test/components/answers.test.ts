/** What is answered to stanzas that no gateway takes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerStanza } from '../../src/components/answers.ts';
import { parseFragment } from '../../src/xmpp/wire/fragment.ts';

const NOW = new Date('2026-03-04T05:06:07Z');
const service = {
  describe: () => ({
    identities: [{ category: 'proxy', type: 'bytestreams', lang: null, name: 'A proxy' }],
    features: ['urn:example:b', 'urn:xmpp:ping'],
  }),
};

const answer = (text: string, items?: () => { jid: string; node: null; name: string }[]) => {
  const answerer = { service: { ...service, ...(items && { items }) }, version: '1.2', now: NOW };
  const reply = answerStanza(parseFragment(text), answerer);
  return reply === null ? null : parseFragment(reply);
};

const ask = (payload: string, { type = 'get', to = 'proxy.a', from = 'u@b/r' } = {}) =>
  `<iq type='${type}' id='q1' from='${from}' to='${to}'>${payload}</iq>`;

const conditionOf = (text: string) => answer(text)?.getChild('error')?.getChildElements()[0]?.name;

const PING = "<ping xmlns='urn:xmpp:ping'/>";
const INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
const ITEMS = "<query xmlns='http://jabber.org/protocol/disco#items'/>";

test('an answer goes from the address that was asked to who asked, with the id', () => {
  const { type, id, from, to } = answer(ask(PING))?.attrs ?? {};
  assert.deepEqual(
    { type, id, from, to },
    { type: 'result', id: 'q1', from: 'proxy.a', to: 'u@b/r' },
  );
});

test('the version is told without the system (XEP-0092), the time in UTC (XEP-0202)', () => {
  const version = answer(ask("<query xmlns='jabber:iq:version'/>"))?.getChild('query');
  assert.equal(version?.getChildText('name'), 'Rowgram');
  assert.equal(version?.getChildText('version'), '1.2');
  assert.equal(version?.getChild('os'), undefined);
  const time = answer(ask("<time xmlns='urn:xmpp:time'/>"))?.getChild('time');
  assert.equal(time?.getChildText('utc'), '2026-03-04T05:06:07Z');
});

test('discovery tells what the gateway states and what is answered here, each once (XEP-0030)', () => {
  const query = answer(ask(INFO))?.getChild('query');
  assert.equal(query?.getChild('identity')?.attrs.name, 'A proxy');
  assert.deepEqual(
    query?.getChildren('feature').map(({ attrs }) => attrs.var),
    [
      'http://jabber.org/protocol/disco#info',
      'http://jabber.org/protocol/disco#items',
      'jabber:iq:version',
      'urn:example:b',
      'urn:xmpp:ping',
      'urn:xmpp:time',
    ],
  );
  assert.deepEqual(answer(ask(ITEMS))?.getChild('query')?.getChildren('item'), []);
  const items = () => [{ jid: 'a@proxy.a', node: null, name: 'A' }];
  const item = answer(ask(ITEMS), items)?.getChild('query')?.getChild('item');
  assert.equal(item?.attrs.jid, 'a@proxy.a');
  for (const text of [INFO, ITEMS]) {
    assert.equal(conditionOf(ask(text.replace('<query', "<query node='n'"))), 'item-not-found');
  }
});

test('what nobody knows is service-unavailable, also at addresses that nobody has (RFC 6121 §8.5.1)', () => {
  for (const text of [
    ask("<vCard xmlns='vcard-temp'/>"),
    ask("<q xmlns='urn:unknown'/>"),
    ask(PING, { type: 'set' }),
    ask(INFO, { type: 'set' }),
    ask(PING, { to: 'nobody@proxy.a' }),
    ask(INFO, { to: 'proxy.a/resource' }),
    ask(PING, { to: '@@' }),
    "<message id='m' from='u@b/r' to='proxy.a'><body>hi</body></message>",
    "<message type='chat' id='m' from='u@b/r' to='nobody@proxy.a'/>",
    "<message type='groupchat' from='u@b/r' to='nobody@proxy.a'/>",
  ]) {
    assert.equal(conditionOf(text), 'service-unavailable', text);
  }
});

test('a request without its one payload is bad-request (RFC 6120 §8.2.3)', () => {
  for (const payload of ['', PING + PING]) {
    assert.equal(conditionOf(ask(payload)), 'bad-request');
  }
});

test('errors, results, presence, headlines and what came from nowhere get no answer', () => {
  for (const text of [
    ask('', { type: 'result' }),
    ask('', { type: 'error' }),
    ask(PING, { type: 'unknown' }),
    `<iq type='get' from='u@b' to='proxy.a'>${PING}</iq>`,
    `<iq type='get' id='1' to='proxy.a'>${PING}</iq>`,
    `<iq type='get' id='1' from='u@b'>${PING}</iq>`,
    "<message type='error' from='u@b' to='proxy.a'/>",
    "<message type='headline' from='u@b' to='proxy.a'/>",
    "<presence from='u@b' to='proxy.a'/>",
    "<presence type='subscribe' from='u@b' to='proxy.a'/>",
    "<presence type='probe' from='u@b' to='nobody@proxy.a'/>",
    "<other from='u@b' to='proxy.a'/>",
  ]) {
    assert.equal(answer(text), null, text);
  }
});

test('a malformed sender is answered as it is written, and its server may judge it', () => {
  for (const from of ['@', 'a@@b', '/', 'u@b/❤️', 'a b', "q'&lt;&amp;", 'x'.repeat(5_000)]) {
    const text = ask(PING).replace("'u@b/r'", `"${from}"`);
    const sender = parseFragment(text).attrs.from;
    assert.equal(answer(text)?.attrs.to, sender);
  }
});
