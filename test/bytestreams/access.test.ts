import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AclRow,
  addressRulesOf,
  findLimits,
  isAllowed,
  type LimitsRow,
  startOfPeriod,
} from '../../src/bytestreams/access.ts';
import { parseJid } from '../../src/xmpp/wire/jid.ts';

const PROXY = 'proxy.example.org';

const acl = (rows: [AclRow['action'], AclRow['role'], string, string?][]): AclRow[] =>
  rows.map(([action, role, who, proxy = null]) => ({ action, role, who, proxy }));

const allows = (rows: AclRow[], jid: string, role: 'requester' | 'target' = 'requester') =>
  isAllowed(rows, PROXY, role, parseJid(jid));

test('a row names all, a domain, those below it, a user or one of his clients', () => {
  const who: [string, string[], string[]][] = [
    ['*', ['a@x.org/r', 'y.net'], []],
    ['x.org', ['a@x.org/r', 'x.org'], ['a@y.x.org/r', 'a@xx.org']],
    ['*.x.org', ['a@y.x.org/r', 'a@z.y.x.org'], ['a@x.org', 'a@yx.org']],
    ['A@X.org', ['a@x.org', 'a@x.org/r'], ['b@x.org', 'x.org']],
    ['a@x.org/r', ['a@x.org/r'], ['a@x.org/R', 'a@x.org', 'b@x.org/r']],
  ];
  for (const [name, named, others] of who) {
    const rows = acl([['deny', 'requester', name]]);
    for (const jid of named) assert.equal(allows(rows, jid), false, `${name} ${jid}`);
    for (const jid of others) assert.equal(allows(rows, jid), true, `${name} ${jid}`);
  }
});

test('the first row that fits decides, for the role and the proxy it is of', () => {
  const rows = acl([
    ['deny', 'requester', '*', 'other.example.org'],
    ['allow', 'requester', 'a@x.org'],
    ['deny', 'requester', 'x.org'],
    ['deny', 'target', 'a@x.org', 'Proxy.Example.org'],
  ]);
  assert.equal(allows(rows, 'a@x.org/r'), true);
  assert.equal(allows(rows, 'b@x.org/r'), false);
  assert.equal(allows(rows, 'c@y.org/r'), true);
  assert.equal(allows(rows, 'a@x.org/r', 'target'), false);
  assert.equal(allows(rows, 'b@x.org/r', 'target'), true);
});

test('rows of the role ip are for the listeners, in their order', () => {
  const rows = acl([
    ['allow', 'ip', '192.0.2.1'],
    ['deny', 'requester', '*'],
    ['deny', 'ip', '192.0.2.0/24', 'other.example.org'],
    ['deny', 'ip', '*'],
  ]);
  assert.deepEqual(addressRulesOf(rows, PROXY), [
    { action: 'allow', network: '192.0.2.1' },
    { action: 'deny', network: '*' },
  ]);
});

const limits = (who: string, proxy: string | null = null): LimitsRow => ({
  proxy,
  who,
  maxStreams: null,
  rateLimit: null,
  maxBytes: null,
  maxTimeS: null,
  quotaBytes: null,
  quotaPeriod: null,
});

test('the limits that name the requester most closely hold, whatever their order', () => {
  const rows = [
    limits('*', PROXY),
    limits('*'),
    limits('*.org'),
    limits('*.x.org'),
    limits('y.x.org'),
    limits('a@y.x.org'),
    limits('a@y.x.org', PROXY),
  ];
  const find = (jid: string) => {
    const row = findLimits(rows, PROXY, parseJid(jid));
    return row && [row.who, row.proxy];
  };
  assert.deepEqual(find('a@y.x.org/r'), ['a@y.x.org', PROXY]);
  assert.deepEqual(find('b@y.x.org/r'), ['y.x.org', null]);
  assert.deepEqual(find('b@z.x.org/r'), ['*.x.org', null]);
  assert.deepEqual(find('b@z.org/r'), ['*.org', null]);
  assert.deepEqual(find('b@z.net/r'), ['*', PROXY]);
  assert.equal(findLimits([limits('x.org')], PROXY, parseJid('a@z.net')), null);
});

test('periods begin in UTC', () => {
  const now = new Date('2026-11-21T08:55:12.345Z');
  assert.equal(startOfPeriod('hour', now).toISOString(), '2026-11-21T08:00:00.000Z');
  assert.equal(startOfPeriod('day', now).toISOString(), '2026-11-21T00:00:00.000Z');
  assert.equal(startOfPeriod('month', now).toISOString(), '2026-11-01T00:00:00.000Z');
});
