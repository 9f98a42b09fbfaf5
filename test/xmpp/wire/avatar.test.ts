import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type AvatarInfo,
  formatAvatarData,
  formatAvatarMetadata,
  formatPhotoHash,
  readAvatarData,
  readAvatarMetadata,
  readPhotoHash,
} from '../../../src/xmpp/wire/avatar.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { readPubsubEvent } from '../../../src/xmpp/wire/pubsub.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, legalName, payloadOf, plainRecord } from '../../support/xmlTree.ts';

const HASH = '111f4b3c50d7b0df729d299bc6f8e9ef9066971f';
const INFO: AvatarInfo = {
  hash: HASH,
  mediaType: 'image/png',
  sizeBytes: 12345,
  width: 64,
  height: 64,
  url: null,
};
const metadata = (content: string) =>
  readAvatarMetadata(
    parseFragment(`<metadata xmlns='urn:xmpp:avatar:metadata'>${content}</metadata>`),
  );

test('a presence says in three ways what picture there is (XEP-0153, examples 3, 6 and 7)', () => {
  const states: ['0153-3' | '0153-6' | '0153-7', string | null][] = [
    ['0153-3', '01b87fcd030b72895ff8e88db57ec525450f000d'],
    ['0153-6', null],
    ['0153-7', ''],
  ];
  for (const [example, hash] of states) {
    const presence = parseFragment(xepExamples[example]);
    assert.equal(readPhotoHash(presence), hash);
    assertSameXml(formatPhotoHash(hash), presence.getChild('x'));
  }
});

test('a hash may be in capitals, and has to be one (XEP-0153 §3.1)', () => {
  const read = (text: string) =>
    readPhotoHash(
      parseFragment(
        `<presence><x xmlns='vcard-temp:x:update'><photo>${text}</photo></x></presence>`,
      ),
    );
  assert.equal(read(` ${HASH.toUpperCase()}\n`), HASH);
  assert.equal(read(' '), '');
  for (const text of ['a', `${HASH}0`, HASH.replace('f', 'g'), '../../etc']) {
    assert.equal(read(text), null);
  }
  assert.equal(readPhotoHash(parseFragment('<presence><x/></presence>')), null);
});

test('metadata is read and written (XEP-0084, examples 3, 5, 8 and 10)', () => {
  const told = readPubsubEvent(parseFragment(xepExamples['0084-5']));
  assert.ok(told?.kind === 'items');
  assert.deepEqual(readAvatarMetadata(told.items[0]?.payload), [INFO]);
  const published = (example: '0084-3' | '0084-8' | '0084-10') =>
    payloadOf(xepExamples[example]).getChild('publish')?.getChild('item')?.getChild('metadata');
  assertSameXml(formatAvatarMetadata(INFO), published('0084-3'));
  assertSameXml(formatAvatarMetadata(null), published('0084-8'));
  assert.deepEqual(readAvatarMetadata(published('0084-8')), []);
  const infos = readAvatarMetadata(published('0084-10'));
  assert.equal(infos?.length, 4);
  assert.deepEqual(infos?.[1], {
    ...INFO,
    hash: 'e279f80c38f99c1e7e53e262b440993b2f7eea57',
    url: 'http://avatars.example.org/happy.png',
  });
});

test('an info without the hash is skipped; what else it lacks is not known (XEP-0084 §4.2.1)', () => {
  assert.deepEqual(metadata(`<info id='${HASH}' bytes='-1' type='' width='a'/>`), [
    { hash: HASH, mediaType: null, sizeBytes: null, width: null, height: null, url: null },
  ]);
  assert.deepEqual(metadata("<info bytes='1' type='image/png'/><info id='short'/><pointer/>"), []);
  assert.equal(readAvatarMetadata(parseFragment('<metadata/>')), null);
  assert.equal(readAvatarMetadata(null), null);
});

test('data is read as it was written, and nothing else is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), (data) => {
      assert.deepEqual(readAvatarData(parseFragment(formatAvatarData(data))), Buffer.from(data));
    }),
  );
  const read = (text: string) =>
    readAvatarData(parseFragment(`<data xmlns='urn:xmpp:avatar:data'>${text}</data>`));
  // What the XEP prints is cut short.
  assert.equal(read('\n qANQR1DBwU4DX7jmYZnncm...\n'), null);
  assert.equal(read(''), null);
  assert.equal(readAvatarData(parseFragment('<data>AQ==</data>')), null);
  assert.equal(readAvatarData(undefined), null);
});

test('any metadata is read as it was written', () => {
  const digit = fc.constantFrom(...'0123456789abcdef');
  const infos = plainRecord<AvatarInfo>({
    hash: fc.string({ unit: digit, minLength: 40, maxLength: 40 }),
    mediaType: fc.option(legalName),
    sizeBytes: fc.option(fc.maxSafeNat()),
    width: fc.option(fc.nat()),
    height: fc.option(fc.nat()),
    url: fc.option(legalName),
  });
  fc.assert(
    fc.property(infos, (info) => {
      assert.deepEqual(readAvatarMetadata(parseFragment(formatAvatarMetadata(info))), [info]);
    }),
  );
});
