import assert from 'node:assert/strict';
import type { SrvRecord } from 'node:dns';
import { test } from 'node:test';
import fc from 'fast-check';
import { ConfigError } from '../../src/errors.ts';
import {
  findCandidates,
  orderOffers,
  readServerName,
  systemResolver,
  type TlsMode,
} from '../../src/xmpp/candidates.ts';

type Zone = Record<string, SrvRecord[]>;

const srv = (name: string, priority = 10, weight = 0, port = 5222): SrvRecord => ({
  name,
  priority,
  weight,
  port,
});
const offer = (name: string, priority: number, weight: number) =>
  ({ ...srv(name, priority, weight), opening: 'starttls' }) as const;
const find = (
  zone: Zone,
  tls: TlsMode,
  given: { domain?: string; host?: string; location?: string } = {},
) => {
  const place = { domain: 'example.test', host: '', location: null, ...given };
  const resolveSrv = async (name: string): Promise<SrvRecord[]> => {
    const records = zone[name];
    if (records === undefined) throw new Error('querySrv ENOTFOUND');
    return records;
  };
  const resolver = { ...systemResolver, resolveSrv };
  return findCandidates({ ...place, port: 5222, tls }, resolver, new AbortController().signal);
};

const direct = '_xmpps-client._tcp.example.test';
const starttls = '_xmpp-client._tcp.example.test';

test('auto mixes both services by priority (XEP-0368)', async () => {
  const zone = {
    [direct]: [srv('d1', 20, 0, 443), srv('d2', 5, 0, 5223)],
    [starttls]: [srv('s1', 10)],
  };
  assert.deepEqual(await find(zone, 'auto'), [
    { host: 'd2', port: 5223, opening: 'direct' },
    { host: 's1', port: 5222, opening: 'starttls' },
    { host: 'd1', port: 443, opening: 'direct' },
  ]);
});

test('the other modes ask for the service that they can use', async () => {
  const zone = { [direct]: [srv('d', 1)], [starttls]: [srv('s', 1)] };
  assert.deepEqual(await find(zone, 'direct'), [{ host: 'd', port: 5222, opening: 'direct' }]);
  assert.deepEqual(await find(zone, 'starttls'), [{ host: 's', port: 5222, opening: 'starttls' }]);
  assert.deepEqual(await find(zone, 'none'), [{ host: 's', port: 5222, opening: 'none' }]);
});

test('without records, or DNS, the domain itself is tried (RFC 6120 §3.2.1)', async () => {
  const itself = [{ host: 'example.test', port: 5222, opening: 'starttls' }];
  assert.deepEqual(await find({}, 'auto'), itself);
  assert.deepEqual(await find({ [direct]: [srv('.')] }, 'auto'), itself);
});

test('a root target says that there is no such service (RFC 2782)', async () => {
  for (const root of ['', '.']) {
    await assert.rejects(find({ [starttls]: [srv(root)] }, 'auto'), ConfigError);
    await assert.rejects(find({ [direct]: [srv(root)] }, 'direct'), ConfigError);
  }
  const zone = { [direct]: [srv('d')], [starttls]: [srv('.')] };
  assert.deepEqual(await find(zone, 'auto'), [{ host: 'd', port: 5222, opening: 'direct' }]);
});

test('a given host and an IP address are not looked up', async () => {
  const zone = { [starttls]: [srv('s')] };
  const given = await find(zone, 'auto', { domain: 'example.test', host: 'h' });
  assert.deepEqual(given, [{ host: 'h', port: 5222, opening: 'starttls' }]);
  const address = await find(zone, 'direct', { domain: '[::1]', host: '' });
  assert.deepEqual(address, [{ host: '::1', port: 5222, opening: 'direct' }]);
});

test('a domain is looked up by its ASCII form', () => {
  assert.equal(readServerName('Пример.test'), 'xn--e1afmkfd.test');
  assert.equal(readServerName('192.0.2.1'), '192.0.2.1');
  assert.throws(() => readServerName('a b'), ConfigError);
});

test('no more than eight addresses are tried', async () => {
  const records = Array.from({ length: 20 }, (_, i) => srv(`h${i}`));
  assert.equal((await find({ [starttls]: records }, 'auto')).length, 8);
});

test('weights decide among equals, and no weight has a small chance (RFC 2782)', () => {
  const offers = [offer('heavy', 1, 3), offer('zero', 1, 0), offer('light', 1, 1)];
  const firstAt = (random: number) => orderOffers(offers, () => random)[0]?.name;
  assert.deepEqual([0, 0.21, 0.41, 0.99].map(firstAt), ['zero', 'light', 'heavy', 'heavy']);
});

test('the order keeps every record and never puts a later priority first', () => {
  const record = fc.record({ name: fc.string(), priority: fc.nat(3), weight: fc.nat(65535) });
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.array(record, { maxLength: 12 }), random, (records, value) => {
      const offers = records.map(({ name, priority, weight }) => offer(name, priority, weight));
      const ordered = orderOffers(offers, () => value);
      assert.deepEqual(new Set(ordered), new Set(offers));
      assert.deepEqual(
        ordered.map(({ priority }) => priority),
        offers.map(({ priority }) => priority).sort((a, b) => a - b),
      );
    }),
  );
});

test('where a stream is to be resumed is tried first (XEP-0198 §5)', async () => {
  const zone = { [starttls]: [srv('s')] };
  const usual = { host: 's', port: 5222, opening: 'starttls' };
  const firsts: [location: string, host: string, port: number][] = [
    ['other.test', 'other.test', 5222],
    ['other.test:5299', 'other.test', 5299],
    ['[2001:db8::1]:5299', '2001:db8::1', 5299],
    ['[::1]', '::1', 5222],
  ];
  for (const [location, host, port] of firsts) {
    const first = { host, port, opening: 'starttls' };
    assert.deepEqual(await find(zone, 'auto', { location }), [first, usual]);
  }
  for (const location of ['', '::1', 'a b', 'other.test:0', 'other.test:65536', 'a/b', '[x]:1']) {
    assert.deepEqual(await find(zone, 'auto', { location }), [usual], location);
  }
});
