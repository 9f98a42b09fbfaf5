/** An account that only sends: its cursor moves on with time, since what it sends does not come back. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createArchiveKind } from '../../../src/accounts/archive/part.ts';
import type { KindParts, Line, Part, Taken } from '../../../src/accounts/part.ts';
import { createLog } from '../../../src/log.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const OWN = 'me@a.test';

/** A part with a server that has an archive, and a database that has a cursor. */
const open = async (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const stored: Taken[] = [];
  const server = { last: 'a0', queries: 0 };
  const answers: [RegExp, () => string][] = [
    [
      /disco#info/,
      () =>
        "<iq><query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:mam:2'/></query></iq>",
    ],
    [
      /urn:xmpp:mam:2/,
      () => {
        server.queries += 1;
        return `<iq><fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'><last>${server.last}</last></set></fin></iq>`;
      },
    ],
  ];
  const line: Partial<Line> = {
    accountId: 1,
    account: () => ({ priority: 0, onUncertain: 'retry' }) as ReturnType<Line['account']>,
    ownJid: () => OWN,
    log: createLog('silent', 2),
    db: { maybeOne: async () => ({ archiveId: 'a0', readAtMs: 0 }) } as unknown as Line['db'],
    request: async ({ payload }) => {
      const answer = answers.find(([pattern]) => pattern.test(payload))?.[1]() ?? '<iq/>';
      return parseFragment(answer);
    },
    store: (taken) => void stored.push(taken),
    proceed: () => {},
  };
  const kind = createArchiveKind({
    ownership: { epochs: () => new Map() },
  } as unknown as KindParts);
  const part: Part = kind.create(line as Line);
  await part.begin?.();
  part.online?.(false);
  await part.sync?.();
  const send = (count: number) => {
    for (let n = 0; n < count; n += 1) part.admit?.({} as never, 'bob@b.test', 'chat');
  };
  const pass = async (ms: number) => {
    t.mock.timers.tick(ms);
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  };
  return { part, server, stored, send, pass };
};

const live = (archiveId: string, delayedAt: Date | null = null) =>
  ({ archiveId, delayedAt }) as Parameters<NonNullable<Part['follow']>>[0];

test('after many rows the cursor goes to what was the last message half a minute ago', async (t) => {
  const { server, stored, send, pass } = await open(t);
  send(99);
  await pass(60_000);
  assert.equal(server.queries, 1);
  send(1);
  server.last = 'a100';
  await pass(30_000);
  assert.equal(server.queries, 2);
  server.last = 'a200';
  assert.deepEqual(stored, []);
  await pass(30_000);
  assert.deepEqual(stored, [{ archived: { id: 'a100', at: null } }]);
  await pass(600_000);
  assert.equal(server.queries, 2);
});

test('it does not go back behind a message that came meanwhile, nor on when the stream is lost', async (t) => {
  const { part, server, stored, send, pass } = await open(t);
  send(100);
  await pass(30_000);
  assert.deepEqual(part.follow?.(live('a150')), { id: 'a150', at: null });
  await pass(30_000);
  assert.deepEqual(stored, []);
  send(100);
  await pass(30_000);
  assert.equal(server.queries, 3);
  part.offline?.();
  await pass(60_000);
  assert.deepEqual(stored, []);
});

test('a message that came late, or without an archive id, moves no cursor', async (t) => {
  const { part } = await open(t);
  assert.equal(part.follow?.(live('a1', new Date(0))), null);
  assert.equal(part.follow?.({ ...live('a1'), archiveId: null }), null);
});

test('before the archive has been read no live message moves the cursor', async (t) => {
  const { part } = await open(t);
  await part.begin?.();
  assert.equal(part.follow?.(live('a1')), null);
  await part.sync?.();
  assert.deepEqual(part.follow?.(live('a1')), { id: 'a1', at: null });
});

test('a stream that goes on is still level', async (t) => {
  const { part, server } = await open(t);
  part.offline?.();
  part.online?.(true);
  await part.sync?.();
  assert.equal(server.queries, 1);
  assert.deepEqual(part.follow?.(live('a1')), { id: 'a1', at: null });
});
