import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readScheme } from '../../../src/xmpp/wire/uri.ts';

test('the scheme of an absolute URI is read in lower case', () => {
  const uris: [uri: string, scheme: string][] = [
    ['http://a', 'http'],
    ['HTTPS://a.example:443/b?c#d', 'https'],
    ['mailto:a@b', 'mailto'],
    ['aesgcm://a.example/b#c', 'aesgcm'],
    ['z39.50r://a', 'z39.50r'],
    ['https://ä.example/🐎', 'https'],
    ['javascript:alert(1)', 'javascript'],
  ];
  for (const [uri, scheme] of uris) assert.equal(readScheme(uri), scheme, uri);
});

test('anything else has none', () => {
  for (const uri of [
    ...['', ':', 'a', '/a', '//a', 'a:', '1a:b', '-a:b', ' http://a', 'http://a ', 'http://a b'],
    ...['http://', 'http:///a', 'http:a', 'https:?a', 'http://?a', 'http://#a', 'http:\\\\a'],
    ...[
      'http://a\n',
      'ht\ntp://a',
      'http://a\0',
      'http://a\u202Eb',
      'http://a\uFEFF',
      'http://a<b',
    ],
    // A long s and a Kelvin sign, which ignoring case makes s and k.
    ...['http\u017F://a', '\u212Aey:a'],
  ]) {
    assert.equal(readScheme(uri), null, JSON.stringify(uri));
  }
});
