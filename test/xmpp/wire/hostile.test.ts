/** Every reader of this folder on what no peer should send: it answers, or refuses; it never breaks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Element } from '@xmpp/client';
import fc from 'fast-check';
import { RejectError } from '../../../src/errors.ts';
import { readArchiveEnd, readArchiveResult } from '../../../src/xmpp/wire/archive.ts';
import {
  readAvatarData,
  readAvatarMetadata,
  readPhotoHash,
} from '../../../src/xmpp/wire/avatar.ts';
import { hashCaps } from '../../../src/xmpp/wire/caps.ts';
import { readCommand } from '../../../src/xmpp/wire/command.ts';
import { detachElement } from '../../../src/xmpp/wire/detach.ts';
import { readDiscoInfo, readDiscoItems } from '../../../src/xmpp/wire/disco.ts';
import { readEntityQuery } from '../../../src/xmpp/wire/entity.ts';
import { readStanzaError } from '../../../src/xmpp/wire/error.ts';
import { formatForm, formTypeOf, readForm } from '../../../src/xmpp/wire/form.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { readIq } from '../../../src/xmpp/wire/iq.ts';
import { readRoomPresence, readSubject } from '../../../src/xmpp/wire/muc.ts';
import { readDirectInvite, readMediatedInvite } from '../../../src/xmpp/wire/mucInvite.ts';
import { readPubsubEvent, readPubsubItems } from '../../../src/xmpp/wire/pubsub.ts';
import { isRosterPush, readRoster, readRosterPush } from '../../../src/xmpp/wire/roster.ts';
import { readPage } from '../../../src/xmpp/wire/rsm.ts';
import { readMaxFileSize, readSlot } from '../../../src/xmpp/wire/upload.ts';
import { readVcard, rewriteVcard } from '../../../src/xmpp/wire/vcard.ts';
import { formatElement } from '../../../src/xmpp/wire/xml.ts';
import { xepExamples } from '../../fixtures/xeps.ts';

const rewriteForm = (element: Element): unknown => {
  const form = readForm(element);
  return form && [formTypeOf(form), parseFragment(formatForm(form))];
};
const useInfo = (element: Element): unknown => {
  const info = readDiscoInfo(element);
  return info && [hashCaps(info), readMaxFileSize(info)];
};

const VCARD = {
  fields: { fullName: 'a', nickname: null, email: 'b', url: null, description: null },
  photo: null,
};

const READERS: ((element: Element) => unknown)[] = [
  ...[readArchiveEnd, readArchiveResult, readAvatarData, readAvatarMetadata, readPhotoHash],
  ...[readCommand, readDiscoInfo, readDiscoItems, useInfo, rewriteForm],
  ...[readEntityQuery, readIq, readPage, readStanzaError],
  ...[readRoomPresence, readSubject, readDirectInvite, readMediatedInvite, readVcard],
  ...[readPubsubEvent, readPubsubItems, isRosterPush, readRoster, readRosterPush],
  (element) => readSlot(element, () => true),
  (element) => parseFragment(rewriteVcard(element, VCARD)),
  (element) => parseFragment(formatElement(detachElement(element))),
];

const walk = (element: Element): Element[] => [
  element,
  ...element.getChildElements().flatMap(walk),
];

/** Whatever is read, it is read without a fault, at every place, and changes nothing. */
const readEverywhere = (root: Element): void => {
  const before = formatElement(root);
  for (const element of walk(root)) {
    for (const read of READERS) {
      try {
        read(element);
      } catch (error) {
        assert.ok(error instanceof RejectError, `${before}\n${(error as Error).stack}`);
      }
    }
  }
  assert.equal(formatElement(root), before);
};

const EXAMPLES = Object.values(xepExamples);

test('every reader reads every element', () => {
  for (const example of EXAMPLES) readEverywhere(parseFragment(example));
});

test('every reader stands the loss of any element, attribute or text', () => {
  for (const example of EXAMPLES) {
    const places = walk(parseFragment(example)).length;
    for (let place = 0; place < places; place += 1) {
      const cut = (change: (element: Element) => void): void => {
        const root = parseFragment(example);
        const element = walk(root)[place];
        assert.ok(element);
        change(element);
        readEverywhere(root);
      };
      cut((element) => {
        element.children = [];
      });
      cut((element) => {
        element.attrs = element.attrs.xmlns ? { xmlns: element.attrs.xmlns } : {};
      });
      cut((element) => {
        if (element.parent) element.parent.remove(element);
      });
    }
  }
});

test('every reader stands values that nobody expects', () => {
  const value = fc.oneof(
    fc.constantFrom(
      '',
      ' ',
      '-1',
      '1e99',
      '\u202E',
      '__proto__',
      'constructor',
      'toString',
      '/',
      '@',
    ),
    fc.constantFrom('9'.repeat(400), 'a'.repeat(70_000), '='.repeat(8), '9999-99-99T99:99:99Z'),
  );
  const change = fc.record({ place: fc.nat(), attribute: fc.nat(), value });
  fc.assert(
    fc.property(
      fc.constantFrom(...EXAMPLES),
      fc.array(change, { maxLength: 4 }),
      (text, changes) => {
        const root = parseFragment(text);
        const elements = walk(root);
        for (const { place, attribute, value: wrong } of changes) {
          const element = elements[place % elements.length];
          const names = Object.keys(element?.attrs ?? {}).filter(
            (name) => !name.startsWith('xmlns'),
          );
          const name = names[attribute % (names.length + 1)];
          if (element && name) element.attrs[name] = wrong;
          else if (element) element.children = [wrong, ...element.children];
        }
        readEverywhere(root);
      },
    ),
    { numRuns: 1000 },
  );
});

test('elements by the ten thousand are read', () => {
  const count = 10_000;
  const many = (name: string, ns: string, child: string) =>
    parseFragment(`<${name} xmlns='${ns}'>${child.repeat(count)}</${name}>`, {
      maxStanzaBytes: 4_000_000,
    });
  const info = readDiscoInfo(
    many('query', 'http://jabber.org/protocol/disco#info', "<feature var='a'/>"),
  );
  assert.equal(info?.features.length, count);
  assert.equal(info && hashCaps(info), null);
  const vcard = many('vCard', 'vcard-temp', '<EMAIL><USERID>a@b</USERID></EMAIL><FN>c</FN>');
  assert.ok(rewriteVcard(vcard, VCARD).length > count);
  const page = many('pubsub', 'http://jabber.org/protocol/pubsub', "<items node='a'/>");
  assert.ok(readPubsubItems(page));
});
