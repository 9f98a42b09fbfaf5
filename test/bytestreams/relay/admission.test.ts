import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileAddressRules } from '../../../src/bytestreams/relay/addressRules.ts';
import { createAdmission, sourceOf } from '../../../src/bytestreams/relay/admission.ts';

test('an IPv6 address counts for its network, IPv4 in IPv6 for itself', () => {
  assert.equal(sourceOf('192.0.2.1'), '192.0.2.1');
  assert.equal(sourceOf('::ffff:192.0.2.1'), '192.0.2.1');
  assert.equal(sourceOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
  assert.equal(sourceOf('2001:db8:1:2::6'), '2001:db8:1:2::/64');
  assert.equal(sourceOf('2001:db8::6'), '2001:db8:0:0::/64');
  assert.equal(sourceOf('fe80::1%eth0'), 'fe80:0:0:0::/64');
  assert.equal(sourceOf('::1'), '0:0:0:0::/64');
});

test('who has left makes room', () => {
  const admission = createAdmission();
  const bounds = { maxPending: 3, maxPendingPerAddress: 2 };
  const enter = (address: string) => admission.enter(address, bounds);
  assert.deepEqual(['a', 'a', 'a', 'b', 'c'].map(enter), [true, true, false, true, false]);
  admission.leave('a');
  assert.deepEqual(['c', 'a'].map(enter), [true, false]);
  assert.equal(admission.count(), 3);
});

test('the first rule that fits an address decides, and who fits none may', () => {
  const isAllowed = compileAddressRules([
    { action: 'allow', network: '192.0.2.7' },
    { action: 'deny', network: '192.0.2.0/24' },
    { action: 'deny', network: '2001:db8::/32' },
    { action: 'deny', network: 'no network' },
  ]);
  const addresses = ['192.0.2.7', '192.0.2.8', '192.0.3.1', '2001:db8::1', '::1'];
  assert.deepEqual(addresses.map(isAllowed), [true, false, true, false, true]);
  assert.equal(compileAddressRules([{ action: 'deny', network: '*' }])('::1'), false);
});
