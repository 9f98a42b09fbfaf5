import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatDiscoInfo,
  formatDiscoInfoQuery,
  formatDiscoItems,
  formatDiscoItemsQuery,
  readDiscoInfo,
  readDiscoItems,
} from '../../../src/xmpp/wire/disco.ts';
import { formTypeOf, readValue } from '../../../src/xmpp/wire/form.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import {
  assertSameXml,
  legalName,
  legalText,
  payloadOf,
  plainRecord,
} from '../../support/xmlTree.ts';

test('what an entity is and can is read (XEP-0030, example 2)', () => {
  const info = readDiscoInfo(payloadOf(xepExamples['0030-2']));
  assert.deepEqual(info?.identities[0], {
    category: 'conference',
    type: 'text',
    lang: null,
    name: 'Play-Specific Chatrooms',
  });
  assert.equal(info?.identities.length, 2);
  assert.equal(info?.features.length, 7);
  assert.equal(info?.node, null);
  assert.deepEqual(info?.forms, []);
});

test('forms say more about a room (XEP-0128, example 2)', () => {
  const info = readDiscoInfo(payloadOf(xepExamples['0128-2']));
  const [form] = info?.forms ?? [];
  assert.ok(form);
  assert.equal(formTypeOf(form), 'http://jabber.org/protocol/muc#roominfo');
  assert.equal(readValue(form, 'muc#roominfo_occupants'), '3');
});

test('what there is at an entity is read (XEP-0030, example 12)', () => {
  const items = readDiscoItems(payloadOf(xepExamples['0030-12']));
  assert.equal(items?.node, null);
  assert.deepEqual(items?.items[0], {
    jid: 'people.shakespeare.lit',
    node: null,
    name: 'Directory of Characters',
  });
});

test('answers are written as they were read', () => {
  for (const example of ['0030-2', '0128-2', '0115-complex'] as const) {
    const query = payloadOf(xepExamples[example]);
    const info = readDiscoInfo(query);
    assert.ok(info);
    assertSameXml(formatDiscoInfo(info), query);
  }
  const query = payloadOf(xepExamples['0030-12']);
  const items = readDiscoItems(query);
  assert.ok(items);
  assertSameXml(formatDiscoItems(items), query);
});

test('queries name the node', () => {
  const ns = 'http://jabber.org/protocol/disco';
  assertSameXml(formatDiscoInfoQuery(null), `<query xmlns='${ns}#info'/>`);
  assertSameXml(formatDiscoInfoQuery("a'"), `<query xmlns='${ns}#info' node="a'"/>`);
  assertSameXml(formatDiscoItemsQuery('a'), `<query xmlns='${ns}#items' node='a'/>`);
});

test('what lacks its name is skipped, and what is no answer is null', () => {
  const query = (kind: string, content: string) =>
    parseFragment(`<query xmlns='http://jabber.org/protocol/disco#${kind}'>${content}</query>`);
  const info = readDiscoInfo(
    query(
      'info',
      "<identity/><identity category='a'/><feature/><feature var=''/><x xmlns='jabber:x:data'/>",
    ),
  );
  assert.deepEqual(info, { node: null, identities: [], features: [], forms: [] });
  assert.deepEqual(readDiscoItems(query('items', "<item/><item node='a'/><b/>"))?.items, []);
  assert.equal(readDiscoInfo(query('items', '')), null);
  assert.equal(readDiscoItems(query('info', '')), null);
  assert.equal(readDiscoInfo(null), null);
  assert.equal(readDiscoItems(undefined), null);
});

test('any answer is read as it was written', () => {
  const optional = fc.option(legalText);
  const identities = fc.array(
    plainRecord({ category: legalName, type: legalName, lang: optional, name: optional }),
  );
  const items = fc.array(plainRecord({ jid: legalName, node: optional, name: optional }));
  fc.assert(
    fc.property(optional, identities, fc.array(legalName), items, (node, ids, features, list) => {
      const info = { node, identities: ids, features, forms: [] };
      assert.deepEqual(readDiscoInfo(parseFragment(formatDiscoInfo(info))), info);
      const answer = { node, items: list };
      assert.deepEqual(readDiscoItems(parseFragment(formatDiscoItems(answer))), answer);
    }),
  );
});
