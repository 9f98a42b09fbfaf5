import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detachElement } from '../../../src/xmpp/wire/detach.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { formatElement } from '../../../src/xmpp/wire/xml.ts';

const detach = (stanza: string, path: string[]): string => {
  let element = parseFragment(stanza);
  for (const name of path) {
    const child = element.getChild(name);
    assert.ok(child);
    element = child;
  }
  return formatElement(detachElement(element));
};

test('an element takes along the namespaces that it needs, the nearest ones', () => {
  assert.equal(detach('<a xmlns="x"><b><c/></b></a>', ['b']), '<b xmlns="x"><c/></b>');
  assert.equal(detach('<a xmlns="x"><b xmlns="y"><c/></b></a>', ['b', 'c']), '<c xmlns="y"/>');
  assert.equal(
    detach('<a xmlns:p="x" xmlns:q="y"><b xmlns:p="z"><c><p:d/></c></b></a>', ['b', 'c']),
    '<c xmlns:p="z"><p:d/></c>',
  );
  assert.equal(
    detach('<a xmlns:p="x"><b><c p:d="e"/></b></a>', ['b']),
    '<b xmlns:p="x"><c p:d="e"/></b>',
  );
});

test('an element takes along no namespace that it does not need', () => {
  assert.equal(
    detach('<p:a xmlns="x" xmlns:p="y" xmlns:q="z"><b xml:lang="en"/></p:a>', ['b']),
    '<b xml:lang="en" xmlns="x"/>',
  );
  assert.equal(detach('<a><b/></a>', ['b']), '<b/>');
});

test('the original stays as it was', () => {
  const stanza = parseFragment('<a xmlns="x"><b><c/></b></a>');
  const b = stanza.getChild('b');
  assert.ok(b);
  const copy = detachElement(b);
  copy.attrs.id = 'd';
  copy.children.push('e');
  assert.equal(formatElement(stanza), '<a xmlns="x"><b><c/></b></a>');
  assert.equal(b.getChild('c')?.parent, b);
  assert.equal(copy.parent, null);
});
