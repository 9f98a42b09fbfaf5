import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatPing,
  formatTime,
  formatVersion,
  readEntityQuery,
} from '../../../src/xmpp/wire/entity.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, payloadOf } from '../../support/xmlTree.ts';

test('questions are told apart', () => {
  const ping = payloadOf(xepExamples['0199-1']);
  assert.equal(readEntityQuery(ping), 'ping');
  assertSameXml(formatPing(), ping);
  assert.equal(readEntityQuery(parseFragment("<query xmlns='jabber:iq:version'/>")), 'version');
  assert.equal(readEntityQuery(parseFragment("<time xmlns='urn:xmpp:time'/>")), 'time');
  for (const text of ['<ping/>', "<query xmlns='urn:xmpp:time'/>", "<a xmlns='urn:xmpp:ping'/>"]) {
    assert.equal(readEntityQuery(parseFragment(text)), null, text);
  }
});

test('a version is written (XEP-0092, example 2)', () => {
  const payload = payloadOf(xepExamples['0092-2'].replace(/<os>.*<\/os>/, ''));
  assertSameXml(formatVersion({ name: 'Exodus', version: '0.7.0.4' }), payload);
});

test('a time is written (XEP-0202, example 2)', () => {
  assertSameXml(
    formatTime(new Date('2006-12-19T17:58:35Z')),
    payloadOf(xepExamples['0202-2'].replace('-06:00', '+00:00')),
  );
});
