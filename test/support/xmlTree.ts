/** Elements compared by what they say, and generated texts for what goes into them. */
import assert from 'node:assert/strict';
import type { Element } from '@xmpp/client';
import fc from 'fast-check';
import { parseFragment } from '../../src/xmpp/wire/fragment.ts';
import { findIllegalChar } from '../../src/xmpp/wire/xml.ts';

type Tree = { name: string; ns: string; attrs: object; children: (Tree | string)[] };

/** Without prefixes, the order of attributes, and the white space that only lays the XML out. */
const treeOf = (element: Element): Tree => ({
  name: element.getName(),
  ns: element.getNS() ?? '',
  attrs: Object.fromEntries(
    Object.entries(element.attrs)
      .filter(([name]) => !/^xmlns(?::|$)/.test(name))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  ),
  children: element.children.flatMap((child): (Tree | string)[] => {
    if (typeof child !== 'string') return [treeOf(child)];
    return child.trim() === '' ? [] : [child];
  }),
});

/** @param expected an element, or the text of one */
export const assertSameXml = (actual: string, expected: Element | string | undefined): void => {
  assert.ok(expected !== undefined);
  const element = typeof expected === 'string' ? parseFragment(expected) : expected;
  assert.deepEqual(treeOf(parseFragment(actual)), treeOf(element));
};

/** The first child of a stanza. */
export const payloadOf = (stanza: string): Element => {
  const [payload] = parseFragment(stanza).getChildElements();
  assert.ok(payload);
  return payload;
};

/** A record as plain as those of the codecs, which have a prototype. */
export const plainRecord = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true });

/** What XML can carry, with much that has to be escaped. */
export const legalText = fc
  .oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.string({ unit: fc.constantFrom(...'<>&"\'\t\n\r ];a'), maxLength: 10 }),
  )
  .filter((text) => findIllegalChar(text) === null);

/** The same, as the name of something. */
export const legalName = legalText.filter((text) => text !== '');
/** The same, where white space around it does not count. */
export const trimmedText = legalText.map((text) => text.trim()).filter((text) => text !== '');
