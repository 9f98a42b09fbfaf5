import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import {
  formatPageQuery,
  type Page,
  type PageQuery,
  readPage,
} from '../../../src/xmpp/wire/rsm.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, legalText, payloadOf } from '../../support/xmlTree.ts';

test('queries are written (XEP-0059, examples 8, 11 and 12)', () => {
  const none = { max: 10, before: null, after: null, index: null };
  const queries: ['0059-8' | '0059-11' | '0059-12', PageQuery][] = [
    ['0059-8', { ...none, before: 'peter@pixyland.org' }],
    ['0059-11', { ...none, before: '' }],
    ['0059-12', { ...none, index: 371 }],
  ];
  for (const [example, expected] of queries) {
    const payload = payloadOf(xepExamples[example]);
    assertSameXml(formatPageQuery(expected), payload.getChild('set'));
  }
});

test('pages are read (XEP-0059, examples 4 and 13)', () => {
  const first = { first: 'stpeter@jabber.org', firstIndex: 0 };
  const middle = { first: 'peter@pixyland.org', firstIndex: 371 };
  const pages: ['0059-4' | '0059-13', Page][] = [
    ['0059-4', { ...first, last: 'peterpan@neverland.lit', count: 800 }],
    ['0059-13', { ...middle, last: 'peter@rabbit.lit', count: 800 }],
  ];
  for (const [example, expected] of pages) {
    const payload = payloadOf(xepExamples[example]);
    assert.deepEqual(readPage(payload), expected);
  }
});

test('an empty page has no ends, and wrong numbers are none', () => {
  const read = (content: string) =>
    parseFragment(`<a><set xmlns='http://jabber.org/protocol/rsm'>${content}</set></a>`);
  assert.deepEqual(readPage(read('<count>0</count>')), {
    first: null,
    last: null,
    firstIndex: null,
    count: 0,
  });
  assert.equal(readPage(read("<first index='-1'>a</first>"))?.firstIndex, null);
  assert.equal(readPage(read('<count>a</count>'))?.count, null);
  assert.equal(readPage(read('<count/>'))?.count, null);
  assert.equal(readPage(parseFragment('<a><set/></a>')), null);
});

test('any id is asked for as it is', () => {
  fc.assert(
    fc.property(legalText, (after) => {
      const set = parseFragment(formatPageQuery({ max: 1, after }));
      assert.equal(set.getChildText('after'), after);
      assert.equal(set.getChild('before'), undefined);
    }),
  );
});
