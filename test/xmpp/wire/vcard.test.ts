import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import {
  formatVcardQuery,
  readVcard,
  rewriteVcard,
  type Vcard,
  type VcardFields,
} from '../../../src/xmpp/wire/vcard.ts';
import { formatElement } from '../../../src/xmpp/wire/xml.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, payloadOf, plainRecord, trimmedText } from '../../support/xmlTree.ts';

const PETER: VcardFields = {
  fullName: 'Peter Saint-Andre',
  nickname: 'stpeter',
  email: 'stpeter@jabber.org',
  url: 'http://www.xmpp.org/xsf/people/stpeter.shtml',
  description:
    'More information about me is located on my\n' +
    '      personal website: http://www.saint-andre.com/',
};
const NONE: VcardFields = {
  fullName: null,
  nickname: null,
  email: null,
  url: null,
  description: null,
};
const vcard = (content: string) => parseFragment(`<vCard xmlns='vcard-temp'>${content}</vCard>`);
const read = (content: string) => readVcard(vcard(content));
const rewrite = (content: string, fields: Partial<VcardFields>, photo: Vcard['photo'] = null) =>
  rewriteVcard(vcard(content), { fields: { ...NONE, ...fields }, photo });

test('a vCard is read (XEP-0054, example 2)', () => {
  assert.deepEqual(readVcard(payloadOf(xepExamples['0054-2'])), { fields: PETER, photo: null });
  assertSameXml(formatVcardQuery(), "<vCard xmlns='vcard-temp'/>");
});

test('a picture is bytes; one that is elsewhere is none', () => {
  const photo = (content: string) => read(`<PHOTO>${content}</PHOTO>`)?.photo;
  assert.deepEqual(photo('<TYPE>image/png</TYPE><BINVAL>\n  AQ\n ID </BINVAL>'), {
    mediaType: 'image/png',
    data: Buffer.from([1, 2, 3]),
  });
  assert.deepEqual(photo('<BINVAL>AQ==</BINVAL>'), { mediaType: null, data: Buffer.from([1]) });
  for (const content of [
    '',
    '<BINVAL/>',
    '<BINVAL>no base64!</BINVAL>',
    '<TYPE>a</TYPE>',
    '<EXTVAL>http://evil.test/</EXTVAL>',
  ]) {
    assert.equal(photo(content), null, content);
  }
});

test('what is empty is not told, and an address may stand where its parts should', () => {
  assert.deepEqual(read('<FN/><NICKNAME> </NICKNAME><EMAIL/><PHOTO/>')?.fields, NONE);
  const email = (content: string) => read(content)?.fields.email;
  assert.equal(email('<EMAIL>a@b</EMAIL>'), 'a@b');
  assert.equal(email('<EMAIL><USERID>a@b</USERID></EMAIL><EMAIL>c@d</EMAIL>'), 'a@b');
  assert.equal(readVcard(parseFragment('<vCard><FN>a</FN></vCard>')), null);
  assert.equal(readVcard(null), null);
});

test('what is not changed stays as and where it was', () => {
  // White space around a text does not count, and is not written again.
  const existing = payloadOf(
    xepExamples['0054-2'].replace(/<DESC>\s+|\s+<\/DESC>/g, (tag) => tag.trim()),
  );
  assertSameXml(rewriteVcard(existing, { fields: PETER, photo: null }), existing);
  const before = formatElement(existing);
  const fields = { ...PETER, nickname: 'peter', email: 'peter@example.com' };
  const written = rewriteVcard(existing, { fields, photo: null });
  assertSameXml(
    written,
    before
      .replace('<NICKNAME>stpeter<', '<NICKNAME>peter<')
      .replace('<USERID>stpeter@jabber.org<', '<USERID>peter@example.com<'),
  );
  assert.match(written, /<EMAIL><INTERNET\/><PREF\/><USERID>peter@example\.com/);
  assert.equal(formatElement(existing), before);
  const internet = existing.getChild('EMAIL')?.getChild('INTERNET');
  assert.equal(internet?.parent, existing.getChild('EMAIL'));
});

test('further addresses and telephones stay, unless there is to be no address', () => {
  const others = '<TEL><NUMBER>1</NUMBER></TEL><TEL><NUMBER>2</NUMBER></TEL>';
  const [work, home] = [
    '<EMAIL><WORK/><USERID>a@b</USERID></EMAIL>',
    '<EMAIL><USERID>c@d</USERID></EMAIL>',
  ];
  assertSameXml(
    rewrite(work + others + home, { email: 'e@f' }),
    vcard(`<EMAIL><WORK/><USERID>e@f</USERID></EMAIL>${others}${home}`),
  );
  assertSameXml(rewrite(work + others + home, {}), vcard(others));
  assertSameXml(
    rewrite(others, { email: 'a@b' }),
    vcard(`${others}<EMAIL><INTERNET/><USERID>a@b</USERID></EMAIL>`),
  );
});

test('what is NULL is taken away, all of it, and so are further pictures', () => {
  const old = '<FN>a</FN><X/><FN>b</FN><PHOTO><EXTVAL>a</EXTVAL></PHOTO><PHOTO/><URL>c</URL>';
  assertSameXml(rewrite(old, {}), vcard('<X/>'));
  const data = Buffer.from([1]);
  assertSameXml(
    rewrite(old, { fullName: 'd' }, { mediaType: 'image/png', data }),
    vcard('<FN>d</FN><X/><FN>b</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>AQ==</BINVAL></PHOTO>'),
  );
});

test('prefixes and declarations around a vCard are kept', () => {
  const iq = parseFragment(
    "<iq xmlns='jabber:client' xmlns:v='vcard-temp' xmlns:p='urn:p'>" +
      '<v:vCard><v:FN>a</v:FN><p:q/></v:vCard></iq>',
  );
  const fields = { ...NONE, fullName: 'b', url: 'c' };
  assertSameXml(
    rewriteVcard(iq.getChild('vCard'), { fields, photo: null }),
    "<vCard xmlns='vcard-temp'><FN>b</FN><q xmlns='urn:p'/><URL>c</URL></vCard>",
  );
});

test('what is no vCard is not kept', () => {
  const changes = { fields: { ...NONE, fullName: 'c' }, photo: null };
  assertSameXml(rewriteVcard(parseFragment('<a><b/></a>'), changes), vcard('<FN>c</FN>'));
  assertSameXml(rewriteVcard(undefined, changes), vcard('<FN>c</FN>'));
});

test('what XML cannot carry is refused', () => {
  assert.throws(() => rewrite('', { fullName: '\0' }), { name: 'RejectError' });
});

test('any vCard is read as it was written, onto nothing and onto another', () => {
  const text = fc.option(trimmedText);
  const data = fc.uint8Array({ minLength: 1 }).map((bytes) => Buffer.from(bytes));
  const cards = plainRecord<Vcard>({
    fields: plainRecord({
      fullName: text,
      nickname: text,
      email: text,
      url: text,
      description: text,
    }),
    photo: fc.option(plainRecord({ mediaType: text, data })),
  });
  fc.assert(
    fc.property(cards, (card) => {
      assert.deepEqual(readVcard(parseFragment(rewriteVcard(null, card))), card);
      const peter = payloadOf(xepExamples['0054-2']);
      assert.deepEqual(readVcard(parseFragment(rewriteVcard(peter, card))), card);
    }),
  );
});
