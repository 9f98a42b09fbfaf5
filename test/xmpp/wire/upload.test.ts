/** Requests for slots and the slots themselves, with only what XEP-0363 allows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDiscoInfo } from '../../../src/xmpp/wire/disco.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import {
  formatSlotRequest,
  readMaxFileSize,
  readSlot,
  uploadNs,
} from '../../../src/xmpp/wire/upload.ts';

const slot = (put: string, get = "<get url='https://files.test/get'/>") =>
  readSlot(parseFragment(`<slot xmlns='${uploadNs}'>${put}${get}</slot>`));

test('a request names the file, its size and its type', () => {
  assert.equal(
    formatSlotRequest({ name: "très c'est.jpg", sizeBytes: 23456, mediaType: 'image/jpeg' }),
    `<request xmlns='${uploadNs}' filename='très c&apos;est.jpg' size='23456' content-type='image/jpeg'/>`,
  );
});

test('of the headers of a slot only those of §5 are taken, without what would end their line', () => {
  const headers = [
    ['authorization', 'Basic x'],
    ['Host', 'evil.test'],
    ['Cookie', 'a=b&#10;&#13;Host: evil.test'],
    ['Expires', '☃'],
    ['Cookie', 'c=d'],
  ].map(([name, value]) => `<header name='${name}'>${value}</header>`);
  assert.deepEqual(slot(`<put url='https://files.test/put?a=b&amp;c'>${headers.join('')}</put>`), {
    putUrl: 'https://files.test/put?a=b&c',
    getUrl: 'https://files.test/get',
    headers: [
      { name: 'Authorization', value: 'Basic x' },
      { name: 'Cookie', value: 'a=bHost: evil.test' },
      { name: 'Cookie', value: 'c=d' },
    ],
  });
});

test('a slot without both URLs, or with one that is not allowed, is none', () => {
  const urls = [
    'http://files.test/',
    'ftp://files.test/',
    'https://',
    'files.test',
    '',
    'https:x y',
  ];
  for (const url of urls) {
    assert.equal(slot(`<put url='${url}'/>`), null, url);
    assert.equal(slot("<put url='https://files.test/'/>", `<get url='${url}'/>`), null, url);
  }
  assert.equal(slot(''), null);
  assert.equal(slot('<put/>'), null);
  assert.equal(readSlot(parseFragment("<slot xmlns='other'/>")), null);
  assert.equal(readSlot(undefined), null);
});

test('whoever asks decides which of http and https is allowed', () => {
  const element = parseFragment(
    `<slot xmlns='${uploadNs}'><put url='http://127.0.0.1/a'/><get url='ftp://127.0.0.1/a'/></slot>`,
  );
  const both = parseFragment(
    `<slot xmlns='${uploadNs}'><put url='http://127.0.0.1/a'/><get url='https://files.test/a'/></slot>`,
  );
  assert.equal(
    readSlot(element, () => true),
    null,
  );
  assert.equal(
    readSlot(both, ({ hostname }) => hostname !== 'files.test'),
    null,
  );
  assert.equal(readSlot(both, () => true)?.putUrl, 'http://127.0.0.1/a');
});

test('the largest file is that of the form, where there is one', () => {
  const read = (type: string, size: string) => {
    const info = readDiscoInfo(
      parseFragment(
        `<query xmlns='http://jabber.org/protocol/disco#info'><x xmlns='jabber:x:data' type='result'>` +
          `<field var='FORM_TYPE' type='hidden'><value>${type}</value></field>` +
          `<field var='max-file-size'><value>${size}</value></field></x></query>`,
      ),
    );
    return info && readMaxFileSize(info);
  };
  assert.equal(read(uploadNs, '5242880'), 5_242_880);
  assert.equal(read(uploadNs, 'many'), null);
  assert.equal(read('other', '1'), null);
});
