import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import {
  formatItemsQuery,
  formatPublish,
  readPubsubEvent,
  readPubsubItems,
} from '../../../src/xmpp/wire/pubsub.ts';
import { formatElement } from '../../../src/xmpp/wire/xml.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, legalName, payloadOf } from '../../support/xmlTree.ts';

const NODE = 'princely_musings';
const ID = 'ae890ac52d0df67ed7cfdf51b644e901';
const entryIn = (example: '0060-96'): string => {
  const publish = payloadOf(xepExamples[example]).getChild('publish');
  const entry = publish?.getChild('item')?.getChild('entry');
  assert.ok(entry);
  return formatElement(entry);
};
const event = (content: string, type = 'headline') =>
  readPubsubEvent(
    parseFragment(
      `<message type='${type}'><event xmlns='http://jabber.org/protocol/pubsub#event'>${content}</event></message>`,
    ),
  );

test('items are published (XEP-0060, example 96)', () => {
  assertSameXml(
    formatPublish({ node: NODE, id: 'bnd81g37d61f49fgn581', payload: entryIn('0060-96') }),
    payloadOf(xepExamples['0060-96']),
  );
  assertSameXml(
    formatPublish({ node: 'a', id: null, payload: '<b/>' }),
    "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='a'><item><b/></item></publish></pubsub>",
  );
});

test('items are asked for (XEP-0060, examples 80 and 83)', () => {
  assertSameXml(formatItemsQuery({ node: NODE, maxItems: 2 }), payloadOf(xepExamples['0060-80']));
  assertSameXml(formatItemsQuery({ node: NODE, ids: [ID] }), payloadOf(xepExamples['0060-83']));
});

test('published items are told with their payloads (XEP-0163, example 2)', () => {
  const told = readPubsubEvent(parseFragment(xepExamples['0163-2']));
  assert.ok(told?.kind === 'items');
  assert.equal(told.node, 'http://jabber.org/protocol/tune');
  assert.deepEqual(told.retracted, []);
  const [item] = told.items;
  assert.ok(item?.payload?.is('tune', 'http://jabber.org/protocol/tune'));
  assert.equal(item?.payload?.getChildText('artist'), 'Gerald Finzi');
  assert.equal(item?.payload?.parent, null);
});

test('retracted items, purged and deleted nodes are told (XEP-0060, examples 117, 165 and 160)', () => {
  const read = (example: '0060-117' | '0060-160' | '0060-165') =>
    readPubsubEvent(parseFragment(xepExamples[example]));
  assert.deepEqual(read('0060-117'), { kind: 'items', node: NODE, items: [], retracted: [ID] });
  assert.deepEqual(read('0060-165'), { kind: 'purge', node: NODE });
  assert.deepEqual(read('0060-160'), {
    kind: 'delete',
    node: NODE,
    redirect: 'xmpp:hamlet@denmark.lit?;node=blog',
  });
});

test('a payload keeps the namespaces that are declared around it', () => {
  const told = event("<items node='a' xmlns:p='urn:p'><item publisher='b@c'><p:d/></item></items>");
  assert.ok(told?.kind === 'items');
  const [item] = told.items;
  assert.deepEqual([item?.id, item?.publisher], [null, 'b@c']);
  assert.equal(item?.payload && formatElement(item.payload), '<p:d xmlns:p="urn:p"/>');
});

test('an item may come without its payload (XEP-0060 §7.1.2.2)', () => {
  const told = event("<items node='a'><item id='b'/><retract/></items>");
  assert.deepEqual(told, {
    kind: 'items',
    node: 'a',
    items: [{ id: 'b', publisher: null, payload: null }],
    retracted: [],
  });
});

test('what tells of no items is no such event', () => {
  for (const content of [
    '',
    '<items/>',
    "<items node=''/>",
    "<purge xmlns='a' node='b'/>",
    "<configuration node='a'/>",
    "<subscription node='a' jid='b' subscription='none'/>",
    'text',
  ]) {
    assert.equal(event(content), null, content);
  }
  assert.equal(event("<purge node='a'/>", 'error'), null);
  assert.equal(readPubsubEvent(parseFragment('<message/>')), null);
});

test('answers are read, with the page that they are', () => {
  const read = (content: string) =>
    readPubsubItems(
      parseFragment(`<pubsub xmlns='http://jabber.org/protocol/pubsub'>${content}</pubsub>`),
    );
  const set = "<set xmlns='http://jabber.org/protocol/rsm'><count>7</count></set>";
  const answer = read(`<items node='a'><item id='b'><c xmlns='d'/></item></items>${set}`);
  assert.equal(answer?.node, 'a');
  assert.equal(answer?.page?.count, 7);
  assert.ok(answer?.items[0]?.payload?.is('c', 'd'));
  assert.deepEqual(read("<items node='a'/>"), { node: 'a', items: [], page: null });
  assert.equal(read('<items/>'), null);
  assert.equal(read(''), null);
  assert.equal(readPubsubItems(parseFragment("<pubsub><items node='a'/></pubsub>")), null);
  assert.equal(readPubsubItems(undefined), null);
});

test('names of nodes and items are written as they are', () => {
  fc.assert(
    fc.property(legalName, legalName, (node, id) => {
      const items = parseFragment(formatItemsQuery({ node, ids: [id] })).getChild('items');
      assert.equal(items?.attrs.node, node);
      assert.equal(items?.getChild('item')?.attrs.id, id);
    }),
  );
});
