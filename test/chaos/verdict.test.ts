import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Evidence, judge } from './verdict.ts';

const row = (body: string, changes = {}) => ({
  body,
  state: 'submitted',
  stanzaId: `id-${body}`,
  linkId: 1,
  settledAt: 1_000,
  ...changes,
});
const arrival = (body: string, changes = {}) => ({
  recipient: 'r0',
  body,
  id: `id-${body}`,
  at: 1_000,
  ...changes,
});
const fault = (kind: string) => ({ kind, startedAt: 500, healedAt: 900, recoveryMs: 100 });
const letter = (body: string) => ({ body, messageId: body, at: 1_000 });

const GOOD: Evidence = {
  faults: [fault('reset')],
  written: new Map([
    ['a:1', { fate: 'committed', at: 1 }],
    ['a:2', { fate: 'rolled back', at: 2 }],
    ['a:3', { fate: 'committed', at: 3 }],
  ]),
  rows: [row('a:1'), row('a:3')],
  arrivals: [arrival('a:1'), arrival('a:1'), arrival('a:3')],
  sent: new Map([
    ['s:1', { fate: 'acknowledged', at: 1_000 }],
    ['s:2', { fate: 'unknown', at: 1_000 }],
  ]),
  received: [letter('s:1')],
  serverLoses: ['server'],
};

test('a copy with the same id, and a message that no one vouches for, are no violations', () => {
  assert.deepEqual(judge(GOOD).violations, []);
  assert.equal(judge(GOOD).costs[0]?.doubled, 1);
});

const copies = Array.from({ length: 401 }, () => arrival('a:1'));
const BAD: Record<string, Partial<Evidence>> = {
  'a:3 was committed and is no row': { rows: [row('a:1')], arrivals: [arrival('a:1')] },
  'a:2 was rolled back and is a row': {
    rows: [...GOOD.rows, row('a:2')],
    arrivals: [arrival('a:1'), arrival('a:2'), arrival('a:3')],
  },
  'a:3 is queued': { rows: [row('a:1'), row('a:3', { state: 'queued' })] },
  'a:3 never arrived': { arrivals: [arrival('a:1')] },
  'a:2 arrived and is no committed row': {
    arrivals: [arrival('a:1'), arrival('a:2'), arrival('a:3')],
  },
  'a:3 arrived as x, its row has id-a:3': {
    arrivals: [...GOOD.arrivals, arrival('a:3', { id: 'x' })],
  },
  'a:1 arrived out of order': { arrivals: [arrival('a:3'), arrival('a:1')] },
  '402 copies, where 400 may be: link 1 after fault 0': { arrivals: [...GOOD.arrivals, ...copies] },
  's:1 was acknowledged and is no row': { received: [] },
  's:1 was received twice': { received: [letter('s:1'), letter('s:1')] },
  's:1 was received out of order': { received: [letter('s:2'), letter('s:1')] },
  's:9 is a received row and was never sent': { received: [...GOOD.received, letter('s:9')] },
};

for (const [violation, change] of Object.entries(BAD)) {
  test(`it is noticed that ${violation}`, () => {
    assert.deepEqual(judge({ ...GOOD, ...change }).violations, [violation]);
  });
}

test('a server that went down may have lost what it had taken, and nothing else is forgiven', () => {
  const lost = { arrivals: [arrival('a:1')], received: [] };
  const { violations, costs } = judge({ ...GOOD, ...lost, faults: [fault('server')] });
  assert.deepEqual(violations, []);
  assert.deepEqual([costs[0]?.lost, costs[0]?.receivedLost], [1, 1]);
});
