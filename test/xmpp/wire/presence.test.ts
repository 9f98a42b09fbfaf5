import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RejectError } from '../../../src/errors.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import {
  formatDirectedPresence,
  formatDirectedUnavailable,
  readAvailability,
} from '../../../src/xmpp/wire/presence.ts';

test('presence is shown to one', () => {
  const whole = parseFragment(
    formatDirectedPresence("a'b@c/<d>", { show: 'away', status: 'e & f' }),
  );
  assert.deepEqual(whole.attrs, { to: "a'b@c/<d>" });
  assert.equal(whole.getChildText('show'), 'away');
  assert.equal(whole.getChildText('status'), 'e & f');
  const plain = parseFragment(formatDirectedPresence('a@b', { show: null, status: null }));
  assert.deepEqual([plain.attrs, plain.children], [{ to: 'a@b' }, []]);
  assert.deepEqual(parseFragment(formatDirectedUnavailable('a@b')).attrs, {
    to: 'a@b',
    type: 'unavailable',
  });
  assert.throws(() => formatDirectedPresence('a@b', { show: null, status: '\0' }), RejectError);
});

test('who is available says how; what is unknown or empty is not said (RFC 6121 §4.7.2)', () => {
  const read = (content: string) =>
    readAvailability(parseFragment(`<presence>${content}</presence>`));
  assert.deepEqual(read('<show> xa\n</show><status>tea</status>'), { show: 'xa', status: 'tea' });
  assert.deepEqual(read('<show>busy</show><status/>'), { show: null, status: null });
  assert.deepEqual(read(''), { show: null, status: null });
});
