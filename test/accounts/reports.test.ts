/** Reports are believed when they come from whom the message went to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Reported } from '../../src/accounts/received/store.ts';
import { type ClaimedReport, judgeReports } from '../../src/accounts/reports.ts';

const KEY = { id: 1, insertedAtS: 100 };
const ROW: Reported = { ...KEY, accountId: 5, to: 'Bob@Example.test', stanza: null };

const report = (change: Partial<ClaimedReport> = {}): ClaimedReport => ({
  kind: 'delivered',
  id: 'wire',
  from: 'bob@example.test/phone',
  error: null,
  stanza: '<message/>',
  key: KEY,
  accountId: 5,
  ...change,
});

test('a receipt from a device of the recipient is believed, however the JID is written', () => {
  assert.deepEqual(judgeReports([report()], [ROW]), {
    findings: [
      { ...KEY, kind: 'delivered', info: null, accountId: 5, stanzaId: 'wire', error: null },
    ],
    spoofed: [],
  });
});

test('an error is kept with its whole stanza', () => {
  const failed = report({ kind: 'failed', stanza: '<message type="error"/>' });
  const { findings } = judgeReports([failed], [ROW]);
  assert.equal(findings[0]?.info, '<message type="error"/>');
});

test('a report from another JID, account or about no row is not believed', () => {
  const others = [
    report({ from: 'mallory@example.test' }),
    report({ from: 'example.test' }),
    report({ from: null }),
    report({ from: 'not a jid@' }),
    report({ accountId: 6 }),
    report({ key: { id: 2, insertedAtS: 100 } }),
  ];
  assert.deepEqual(judgeReports(others, [ROW]), {
    findings: [],
    spoofed: others.map(({ accountId }) => accountId),
  });
  const nowhere = { ...ROW, to: null };
  assert.equal(judgeReports([report()], [nowhere]).spoofed.length, 1);
});

test('a row that names no account believes whichever account hears of it', () => {
  const { findings } = judgeReports([report({ accountId: 9 })], [{ ...ROW, accountId: null }]);
  assert.equal(findings[0]?.accountId, 9);
});

test('the recipient of a whole stanza stands in the stanza', () => {
  const stanzas: [stanza: string, isBelieved: boolean][] = [
    ["<message to='bob@example.test'><body>to='eve@x.test'</body></message>", true],
    ['<message type="chat"\n to = "bob@example.test/phone"/>', true],
    ["<message to='eve@example.test'><body to='bob@example.test'/></message>", false],
    ["<message><body to='bob@example.test'/></message>", false],
    ["<message auto='bob@example.test' to='eve@example.test'/>", false],
    ["<message x=\"to='bob@example.test'\" to='eve@example.test'/>", false],
  ];
  for (const [stanza, isBelieved] of stanzas) {
    const { findings } = judgeReports([report()], [{ ...ROW, to: 'eve@x.test', stanza }]);
    assert.equal(findings.length === 1, isBelieved, stanza);
  }
});

test('the recipient of a whole stanza is read as XML, with entities and > in attributes', () => {
  const stanzas: [stanza: string, isBelieved: boolean][] = [
    ["<message x='>' to='bob@example.test'/>", true],
    ["<message to='bob&#64;example.test'/>", true],
    ["<message x=\" to='bob@example.test'\" to='eve@example.test'/>", false],
  ];
  for (const [stanza, isBelieved] of stanzas) {
    const { findings } = judgeReports([report()], [{ ...ROW, to: null, stanza }]);
    assert.equal(findings.length === 1, isBelieved, stanza);
  }
});

test('a room that shows a message has it; of messages whose rows are gone nothing is said', () => {
  const shown = report({ kind: 'submitted', from: 'bob@example.test/nick' });
  assert.equal(judgeReports([shown], [ROW]).findings[0]?.kind, 'submitted');
  assert.deepEqual(judgeReports([shown], []), { findings: [], spoofed: [] });
  assert.equal(
    judgeReports([report({ ...shown, from: 'other@example.test/nick' })], [ROW]).spoofed.length,
    1,
  );
});

test('of several reports on a row the strongest is kept', () => {
  const kinds = ['failed', 'displayed', 'delivered'] as const;
  for (const [first, second] of [kinds, kinds.toReversed()]) {
    const given = [first, second].flatMap((kind) => (kind ? report({ kind }) : []));
    const { findings } = judgeReports(given, [ROW]);
    assert.deepEqual(
      findings.map(({ kind }) => kind),
      ['displayed'],
    );
  }
  const { findings } = judgeReports(
    [report({ kind: 'failed' }), report({ kind: 'delivered' })],
    [ROW],
  );
  assert.equal(findings[0]?.kind, 'delivered');
});
