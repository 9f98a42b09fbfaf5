/** What an event changes, and who may send it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readNodeChange } from '../../../src/accounts/pubsub/events.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const EVENT = 'http://jabber.org/protocol/pubsub#event';
const read = (content: string, from = " from='Bob@There'", more = '') =>
  readNodeChange(
    parseFragment(
      `<message type='headline'${from}><event xmlns='${EVENT}'>${content}</event>${more}</message>`,
    ),
    'me@here',
  );

test('items come and go by their ids, the last of each counts', () => {
  const change = read(
    "<items node='n'><item id='a'><x xmlns='y'>1</x></item><item id='a'/><item><z xmlns='y'/></item>" +
      "<retract id='c'/></items>",
  );
  assert.deepEqual(change, {
    service: 'bob@there',
    node: 'n',
    isEmptied: false,
    items: [
      { id: 'a', payload: null },
      { id: '', payload: '<z xmlns="y"/>' },
    ],
    retracted: ['c'],
    publishedAt: null,
  });
});

test('a node is emptied by a purge and by its deletion', () => {
  for (const content of ["<purge node='n'/>", "<delete node='n'/>"]) {
    const change = read(content);
    assert.ok(change && change !== 'distrusted' && change.isEmptied);
  }
});

test('it was published when its delay says so', () => {
  const delay = "<delay xmlns='urn:xmpp:delay' stamp='2020-01-02T03:04:05Z'/>";
  const change = read("<items node='n'><item id='a'/></items>", '', delay);
  assert.ok(change && change !== 'distrusted');
  assert.equal(change.service, 'me@here');
  assert.equal(change.publishedAt?.toISOString(), '2020-01-02T03:04:05.000Z');
});

test('clients and occupants of rooms do not publish', () => {
  const items = "<items node='n'><item id='a'/></items>";
  assert.equal(read(items, " from='bob@there/x'"), 'distrusted');
  assert.equal(read(items, " from='room@muc.there/bob'"), 'distrusted');
  assert.equal(read(items, " from='no jid@'"), 'distrusted');
});

test('what is no event is none', () => {
  assert.equal(read("<configuration node='n'/>"), null);
  assert.equal(read('<items/>'), null);
  assert.equal(readNodeChange(parseFragment('<message><body/></message>'), 'me@here'), null);
});
