import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatArchiveQuery,
  readArchiveEnd,
  readArchiveResult,
} from '../../../src/xmpp/wire/archive.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { formatElement } from '../../../src/xmpp/wire/xml.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, payloadOf } from '../../support/xmlTree.ts';

/** The examples leave out the queryid, which is optional. */
const withQueryId = (example: '0313-6' | '0313-7' | '0313-20' | '0313-23') => {
  const query = payloadOf(xepExamples[example]);
  query.attrs.queryid = 'f27';
  return query;
};

test('queries are written (XEP-0313, examples 6, 7, 20 and 23)', () => {
  const queryId = 'f27';
  const start = new Date('2010-08-07T00:00:00Z');
  assertSameXml(formatArchiveQuery({ queryId, with: 'juliet@capulet.lit' }), withQueryId('0313-6'));
  assertSameXml(
    formatArchiveQuery({
      queryId,
      start: new Date('2010-06-07T00:00:00Z'),
      end: new Date('2010-07-07T13:23:54Z'),
    }),
    withQueryId('0313-7'),
  );
  assertSameXml(
    formatArchiveQuery({ queryId, start, page: { max: 10, after: '09af3-cc343-b409f' } }),
    withQueryId('0313-20'),
  );
  assertSameXml(
    formatArchiveQuery({ queryId, start, page: { max: 10, before: '' } }),
    withQueryId('0313-23'),
  );
  assertSameXml(formatArchiveQuery({ queryId }), "<query xmlns='urn:xmpp:mam:2' queryid='f27'/>");
});

test('a result is read with its message (XEP-0313, example 3)', () => {
  const result = readArchiveResult(parseFragment(xepExamples['0313-3']));
  assert.deepEqual(
    { ...result, message: null },
    {
      queryId: 'f27',
      id: '28482-98726-73623',
      archivedAt: new Date('2010-07-10T23:08:25Z'),
      message: null,
    },
  );
  assert.equal(result?.message.attrs.from, 'witch@shakespeare.lit');
  assert.equal(result?.message.getChildText('body'), 'Hail to thee');
  assert.equal(result?.message.parent, null);
});

test('a message keeps the namespaces that are declared around it', () => {
  const result = readArchiveResult(
    parseFragment(`<message xmlns:p='urn:p'><result xmlns='urn:xmpp:mam:2' id='a'>
      <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><p:q/></message>
      </forwarded></result></message>`),
  );
  assert.equal(
    result && formatElement(result.message),
    '<message xmlns="jabber:client" xmlns:p="urn:p"><p:q/></message>',
  );
  assert.equal(result?.archivedAt, null);
  assert.equal(result?.queryId, null);
});

test('what lacks a part is no result', () => {
  const whole = xepExamples['0313-3'];
  for (const part of [/ id='28482-98726-73623'/, /<message xmlns=[\s\S]*?<\/message>/]) {
    const cut = whole.replace(part, '');
    assert.notEqual(cut, whole);
    assert.equal(readArchiveResult(parseFragment(cut)), null);
  }
  assert.equal(readArchiveResult(parseFragment('<message/>')), null);
});

test('ends are read (XEP-0313, examples 4, 19 and 22)', () => {
  const end = (example: '0313-4' | '0313-19' | '0313-22') =>
    readArchiveEnd(payloadOf(xepExamples[example]));
  const ids = { first: '28482-98726-73623', last: '09af3-cc343-b409f', firstIndex: 0 };
  assert.deepEqual(end('0313-4'), {
    isComplete: false,
    isStable: true,
    page: { ...ids, count: null },
  });
  assert.equal(end('0313-19')?.page?.count, 20);
  assert.equal(end('0313-22')?.isComplete, true);
});

test('an end is incomplete and stable unless it says so (XEP-0313 §4.3)', () => {
  const read = (attributes: string) =>
    readArchiveEnd(parseFragment(`<fin xmlns='urn:xmpp:mam:2'${attributes}/>`));
  assert.deepEqual(read(''), { isComplete: false, isStable: true, page: null });
  assert.deepEqual(read(" complete='1' stable='0'"), {
    isComplete: true,
    isStable: false,
    page: null,
  });
  const odd = read(" complete='yes' stable='false'");
  assert.deepEqual([odd?.isComplete, odd?.isStable], [false, false]);
  assert.equal(readArchiveEnd(parseFragment('<fin/>')), null);
  assert.equal(readArchiveEnd(null), null);
});
