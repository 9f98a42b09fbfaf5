/** The id of a row's stanza leads back to the row, and nobody else can make one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatStanzaId, parseStanzaId } from '../../src/accounts/stanzaId.ts';

const SECRET = 'a secret of the installation';
const keys = fc
  .tuple(
    fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    fc.integer({ min: 0, max: 99_999_999_999 }),
  )
  .map(([id, insertedAtS]) => ({ id, insertedAtS }));

test('an id leads back to its row, and is the same each time', () => {
  fc.assert(
    fc.property(keys, (key) => {
      const id = formatStanzaId(SECRET, key);
      assert.deepEqual(parseStanzaId(SECRET, id), key);
      assert.equal(formatStanzaId(SECRET, key), id);
      // It stands in an attribute as it is.
      assert.match(id, /^[\w.-]+$/);
    }),
  );
});

test('an id made with another secret is none of ours', () => {
  fc.assert(
    fc.property(keys, (key) => {
      assert.equal(parseStanzaId(SECRET, formatStanzaId('another', key)), null);
    }),
  );
});

test('an id with one character changed is none of ours', () => {
  const id = formatStanzaId(SECRET, { id: 17, insertedAtS: 1_800_000_000 });
  for (let at = 0; at < id.length; at += 1) {
    const changed = `${id.slice(0, at)}${id[at] === 'x' ? 'y' : 'x'}${id.slice(at + 1)}`;
    assert.equal(parseStanzaId(SECRET, changed), null, changed);
  }
});

test('any other text is none of ours', () => {
  for (const text of ['', '.', 'a.b.c', '1.1.', `${'z'.repeat(40)}.1.abcdefghijkl`, '1.1.\n']) {
    assert.equal(parseStanzaId(SECRET, text), null);
  }
  fc.assert(
    fc.property(fc.string(), (text) => {
      assert.equal(parseStanzaId(SECRET, text), null);
    }),
  );
});
