import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { formatIq, formatIqError, formatIqResult, readIq } from '../../../src/xmpp/wire/iq.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, legalName } from '../../support/xmlTree.ts';

const read = (text: string) => readIq(parseFragment(text));

test('a request is read (XEP-0199, example 1)', () => {
  const { payload, ...iq } = read(xepExamples['0199-1']) ?? {};
  assert.deepEqual(iq, {
    type: 'get',
    id: 's2c1',
    from: 'capulet.lit',
    to: 'juliet@capulet.lit/balcony',
  });
  assert.ok(payload?.is('ping', 'urn:xmpp:ping'));
});

test('of an error the payload is what was asked, if the error repeats it', () => {
  assert.equal(read(xepExamples['0363-11'])?.payload?.getName(), 'request');
  assert.equal(read("<iq type='error' id='a'><error type='cancel'/></iq>")?.payload, null);
  assert.equal(read("<iq type='result' id='a'/>")?.payload, null);
});

test('what no answer could reach is no iq', () => {
  for (const text of [
    "<message type='get' id='a'><b/></message>",
    "<iq id='a'><b/></iq>",
    "<iq type='got' id='a'><b/></iq>",
    "<iq type='get'><b/></iq>",
    "<iq type='get' id=''><b/></iq>",
  ]) {
    assert.equal(read(text), null, text);
  }
});

test('a request without its one payload is a bad one (RFC 6120 §8.2.3)', () => {
  const refused = { name: 'RejectError', condition: 'bad-request' };
  for (const type of ['get', 'set']) {
    assert.throws(() => read(`<iq type='${type}' id='a'/>`), refused);
    assert.throws(() => read(`<iq type='${type}' id='a'>text</iq>`), refused);
    assert.throws(() => read(`<iq type='${type}' id='a'><b/><c/></iq>`), refused);
  }
});

test('a request is read as it was written', () => {
  const jid = fc.option(legalName);
  const type = fc.constantFrom('get', 'set', 'result');
  fc.assert(
    fc.property(type, legalName, jid, (iqType, id, to) => {
      const iq = read(formatIq({ type: iqType, id, to, payload: "<a xmlns='b'/>" }));
      assert.deepEqual(
        { ...iq, payload: null },
        { type: iqType, id, to, from: null, payload: null },
      );
      assert.ok(iq?.payload?.is('a', 'b'));
    }),
  );
});

test('answers go back to whom they are for', () => {
  const request = { id: "a'b", from: 'c@d/e' };
  assertSameXml(formatIqResult(request), '<iq type="result" id="a\'b" to="c@d/e"/>');
  assertSameXml(
    formatIqResult({ id: 'a', from: null }, '<b/>'),
    "<iq type='result' id='a'><b/></iq>",
  );
  assertSameXml(
    formatIqError(request, { condition: 'forbidden', text: '<no>' }),
    `<iq type="error" id="a'b" to="c@d/e"><error type="auth">
      <forbidden xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>
      <text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">&lt;no></text></error></iq>`,
  );
});
