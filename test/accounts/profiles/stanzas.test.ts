/** Profiles as stanzas: what is another's is kept, and what is malformed is nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatAvatarData,
  formatAvatarMetadata,
  formatPhotoHash,
  readAvatarMetadata,
  readDataAnswer,
  readMetadataAnswer,
  readPhotoHash,
  readVcard,
  rewriteVcard,
} from '../../../src/accounts/profiles/stanzas.ts';
import { RejectError } from '../../../src/errors.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const FIELDS = {
  fullName: 'Ann <b>',
  nickname: 'ann',
  email: 'ann@example.test',
  url: 'https://example.test/?a&b',
  description: 'a\nb',
};
const NONE = { fullName: null, nickname: null, email: null, url: null, description: null };
const HASH = 'a'.repeat(40);

test('a vCard is read as it was written', () => {
  const avatar = Buffer.from([0x89, 1, 2, 3]);
  const vcard = readVcard(parseFragment(rewriteVcard(null, FIELDS, avatar)));
  assert.deepEqual(vcard, { fields: FIELDS, photo: avatar });
  assert.deepEqual(readVcard(parseFragment(rewriteVcard(null, NONE, null))), {
    fields: NONE,
    photo: null,
  });
});

test('what is none of ours is kept, and what is NULL is taken away', () => {
  const old = parseFragment(
    `<iq xmlns='jabber:client'><vCard xmlns='vcard-temp' xmlns:e='urn:ext'><FN>Old</FN><BDAY>1970-01-01</BDAY>` +
      `<PHOTO><EXTVAL>http://evil.test/</EXTVAL></PHOTO><ORG><ORGNAME>A &amp; B</ORGNAME></ORG>` +
      `<e:mood>fine</e:mood><EMAIL><USERID>old@example.test</USERID></EMAIL></vCard></iq>`,
  ).getChild('vCard');
  const vcard = parseFragment(rewriteVcard(old, { ...NONE, nickname: 'n' }, null));
  assert.deepEqual(
    vcard.getChildElements().map((child) => [child.getName(), child.getNS(), child.text()]),
    [
      ['NICKNAME', 'vcard-temp', 'n'],
      ['BDAY', 'vcard-temp', '1970-01-01'],
      ['ORG', 'vcard-temp', ''],
      ['mood', 'urn:ext', 'fine'],
    ],
  );
  assert.equal(vcard.getChild('ORG')?.getChildText('ORGNAME'), 'A & B');
});

test('a text that XML cannot carry is refused', () => {
  assert.throws(() => rewriteVcard(null, { ...NONE, url: '\u{1}' }, null), RejectError);
});

test('a vCard of others may lack anything, and refer to pictures elsewhere', () => {
  const read = (xml: string) => readVcard(parseFragment(xml));
  assert.equal(read("<vCard xmlns='other'/>"), null);
  assert.equal(readVcard(undefined), null);
  const photos = [
    '<PHOTO/>',
    '<PHOTO><BINVAL/></PHOTO>',
    '<PHOTO><BINVAL>not base64!</BINVAL></PHOTO>',
    '<PHOTO><EXTVAL>http://evil.test/</EXTVAL></PHOTO>',
  ];
  for (const photo of photos) {
    assert.equal(read(`<vCard xmlns='vcard-temp'>${photo}</vCard>`)?.photo, null, photo);
  }
  const lines = "<vCard xmlns='vcard-temp'><PHOTO><BINVAL>\n YW\n Jj\n</BINVAL></PHOTO></vCard>";
  assert.equal(read(lines)?.photo?.toString(), 'abc');
  const email = (content: string) =>
    read(`<vCard xmlns='vcard-temp'><EMAIL>${content}</EMAIL></vCard>`)?.fields.email;
  assert.equal(email('<USERID>a@b</USERID>'), 'a@b');
  assert.equal(email('a@b'), 'a@b');
  assert.equal(email(''), null);
});

test('the picture that is in the node is chosen, none that is elsewhere or unnamed', () => {
  const read = (infos: string) =>
    readAvatarMetadata(
      parseFragment(`<metadata xmlns='urn:xmpp:avatar:metadata'>${infos}</metadata>`),
    );
  assert.deepEqual(read(''), { info: null });
  assert.deepEqual(read(`<info id='${HASH}' url='https://x.test/'/>`), { info: null });
  assert.deepEqual(read("<info id='short'/>"), { info: null });
  assert.deepEqual(
    read(`<info id='${'b'.repeat(40)}' url='u'/><info id='${HASH.toUpperCase()}' bytes='7'/>`),
    { info: { hash: HASH, sizeBytes: 7 } },
  );
  assert.equal(readAvatarMetadata(undefined), null);
});

test('what is published is what would be read', () => {
  const bytes = Buffer.from('png');
  const answer = (payload: string) =>
    parseFragment(
      `<iq xmlns='jabber:client'>${payload
        .replaceAll('publish>', 'items>')
        .replace('<publish ', '<items ')}</iq>`,
    );
  assert.deepEqual(readDataAnswer(answer(formatAvatarData(HASH, bytes)), HASH), bytes);
  assert.equal(readDataAnswer(answer(formatAvatarData(HASH, bytes)), 'b'.repeat(40)), null);
  const metadata = formatAvatarMetadata({ hash: HASH, bytes, width: 2, height: 3 });
  assert.deepEqual(readMetadataAnswer(answer(metadata)), { info: { hash: HASH, sizeBytes: 3 } });
  assert.deepEqual(readMetadataAnswer(answer(formatAvatarMetadata(null))), { info: null });
});

test('presence tells the hash, that there is no picture, or nothing', () => {
  const read = (content: string, attributes = '') =>
    readPhotoHash(parseFragment(`<presence${attributes}>${content}</presence>`));
  assert.equal(read(formatPhotoHash(HASH)), HASH);
  assert.equal(read(formatPhotoHash('')), '');
  assert.equal(read(formatPhotoHash(null)), null);
  assert.equal(read(''), null);
  assert.equal(read("<x xmlns='vcard-temp:x:update'><photo>no hash</photo></x>"), null);
  assert.equal(read(formatPhotoHash(HASH), " type='unavailable'"), null);
  const inRoom = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
  assert.equal(read(formatPhotoHash(HASH) + inRoom), null);
});
