import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import {
  formatDecline,
  readDirectInvite,
  readMediatedInvite,
} from '../../../src/xmpp/wire/mucInvite.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, legalName } from '../../support/xmlTree.ts';

const within = (content: string, type = 'normal') =>
  parseFragment(`<message type='${type}'>${content}</message>`);

test('a mediated invitation is read (XEP-0045, example 57)', () => {
  const told = readMediatedInvite(parseFragment(xepExamples['0045-57']));
  assert.deepEqual(
    { ...told, reason: told?.reason?.trim() },
    {
      from: 'crone1@shakespeare.lit/desktop',
      reason: 'Hey Hecate, this is the place for all good witches!',
      password: 'cauldronburn',
    },
  );
});

test('an invitation is declined (XEP-0045, example 58)', () => {
  const message = parseFragment(xepExamples['0045-58']);
  message.attrs = { to: message.attrs.to };
  const decline = message.getChild('x')?.getChild('decline');
  assert.ok(decline);
  // Why is said by people, and nobody is asked.
  decline.children = [];
  assertSameXml(formatDecline('coven@chat.shakespeare.lit', 'crone1@shakespeare.lit'), message);
  fc.assert(
    fc.property(legalName, legalName, (room, inviter) => {
      const written = parseFragment(formatDecline(room, inviter));
      assert.equal(written.attrs.to, room);
      assert.equal(written.getChild('x')?.getChild('decline')?.attrs.to, inviter);
    }),
  );
});

test('a direct invitation is read (XEP-0249, examples 1 and 2)', () => {
  for (const example of ['0249-1', '0249-2'] as const) {
    assert.deepEqual(readDirectInvite(parseFragment(xepExamples[example])), {
      room: 'darkcave@macbeth.shakespeare.lit',
      reason: 'Hey Hecate, this is the place for all good witches!',
      password: 'cauldronburn',
    });
  }
});

test('other messages invite nobody, errors included', () => {
  const x = "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>";
  assert.deepEqual(readMediatedInvite(within(x)), { from: null, reason: null, password: null });
  assert.equal(readMediatedInvite(within(x, 'error')), null);
  assert.equal(readMediatedInvite(parseFragment(xepExamples['0045-59'])), null);
  assert.equal(readMediatedInvite(within('')), null);
  const direct = (attributes: string) => `<x xmlns='jabber:x:conference'${attributes}/>`;
  assert.ok(readDirectInvite(within(direct(" jid='a@b'"))));
  assert.equal(readDirectInvite(within(direct(" jid='a@b'"), 'error')), null);
  assert.equal(readDirectInvite(within(direct(" jid='a@b'"), 'groupchat')), null);
  assert.equal(readDirectInvite(within(direct(''))), null);
  assert.equal(readDirectInvite(within(direct(" jid=''"))), null);
  assert.equal(readDirectInvite(within("<x jid='a@b'/>")), null);
});
