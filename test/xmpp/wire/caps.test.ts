import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatCaps, hashCaps } from '../../../src/xmpp/wire/caps.ts';
import { type DiscoInfo, readDiscoInfo } from '../../../src/xmpp/wire/disco.ts';
import { type Form, readForm } from '../../../src/xmpp/wire/form.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, payloadOf } from '../../support/xmlTree.ts';

/** XEP-0115 §5.2. */
const SIMPLE: DiscoInfo = {
  node: null,
  identities: [{ category: 'client', type: 'pc', lang: null, name: 'Exodus 0.9.1' }],
  features: ['disco#info', 'disco#items', 'muc', 'caps'].map(
    (name) => `http://jabber.org/protocol/${name}`,
  ),
  forms: [],
};
const complex = (): DiscoInfo => {
  const info = readDiscoInfo(payloadOf(xepExamples['0115-complex']));
  assert.ok(info);
  return info;
};
const form = (content: string): Form => {
  const read = readForm(parseFragment(`<x xmlns='jabber:x:data' type='result'>${content}</x>`));
  assert.ok(read);
  return read;
};

test('the simple example has its hash (XEP-0115 §5.2)', () => {
  assert.equal(hashCaps(SIMPLE), 'QgayPKawpkPSDYmwT/WM94uAlu0=');
});

test('the complex example has its hash (XEP-0115 §5.3)', () => {
  assert.equal(hashCaps(complex()), 'q07IKJEyjvHSyhy//CH0CxmKi8w=');
});

test('the hash does not depend on any order', () => {
  const reversed = (info: DiscoInfo): DiscoInfo => ({
    node: 'a',
    identities: info.identities.toReversed(),
    features: info.features.toReversed(),
    forms: info.forms.toReversed().map((each) => ({
      ...each,
      fields: each.fields.toReversed().map((field) => ({
        ...field,
        values: field.values.toReversed(),
      })),
    })),
  });
  assert.equal(hashCaps(reversed(complex())), hashCaps(complex()));
  const letters = fc.uniqueArray(fc.string({ unit: 'grapheme' }));
  fc.assert(
    fc.property(letters, (features) => {
      const info = { ...SIMPLE, features };
      assert.equal(hashCaps(reversed(info)), hashCaps(info));
    }),
  );
});

test('texts are sorted by their octets, not by UTF-16 (XEP-0115 §5.1)', () => {
  const features = ['\u{10000}', '\uFFFD'];
  // The other one is hashed as the same text, in that order.
  assert.equal(
    hashCaps({ identities: [], features, forms: [] }),
    hashCaps({ identities: [], features: ['\uFFFD<\u{10000}'], forms: [] }),
  );
});

test('what is there twice makes the answer ill-formed (XEP-0115 §5.4)', () => {
  const info = complex();
  const again = <Item>(items: Item[]): Item[] => [...items, ...items.slice(0, 1)];
  assert.equal(hashCaps({ ...info, identities: again(info.identities) }), null);
  assert.equal(hashCaps({ ...info, features: again(info.features) }), null);
  assert.equal(hashCaps({ ...info, forms: again(info.forms) }), null);
  const twoTypes = "<field var='FORM_TYPE' type='hidden'><value>a</value><value>b</value></field>";
  assert.equal(hashCaps({ ...info, forms: [form(twoTypes)] }), null);
  const sameTypes = twoTypes.replace('b', 'a');
  assert.notEqual(hashCaps({ ...info, forms: [form(sameTypes)] }), null);
});

test('a form without a hidden FORM_TYPE does not count (XEP-0115 §5.4)', () => {
  const untyped = form("<field var='FORM_TYPE'><value>a</value></field>");
  const unnamed = form("<field var='b'><value>a</value></field>");
  assert.equal(hashCaps({ ...SIMPLE, forms: [untyped, unnamed] }), hashCaps(SIMPLE));
});

test('identities that differ only in where their parts begin are two', () => {
  const identity = { lang: null, name: null };
  const identities = [
    { ...identity, category: 'a', type: 'b/c' },
    { ...identity, category: 'a/b', type: 'c' },
  ];
  assert.notEqual(hashCaps({ ...SIMPLE, identities }), null);
});

test('capabilities are written (XEP-0115, example 1)', () => {
  assertSameXml(
    formatCaps('http://code.google.com/p/exodus', 'QgayPKawpkPSDYmwT/WM94uAlu0='),
    payloadOf(xepExamples['0115-1']),
  );
});
