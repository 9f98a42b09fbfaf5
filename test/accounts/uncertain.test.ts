/** Rows that were on the wire when the stream was lost for good: sent again, held, or looked for. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findProsody, startProsody } from '../../src/demo/prosody.ts';
import { createFakeArchive } from '../peers/fakeArchive.ts';
import { type FakeServer, type Script, startFakeServer } from '../peers/fakeServer.ts';
import type { FakeSession } from '../peers/fakeSession.ts';
import { startFaultProxy } from '../peers/faultProxy.ts';
import { connectRaw } from '../peers/rawClient.ts';
import { spawnDaemon, startDaemon } from '../support/daemon.ts';
import { testDatabase } from '../support/database.ts';
import { hasBody, insertInto } from '../support/scene.ts';

const TIMING = { loginMs: 3_000, keepAliveMs: 400, patienceMs: 1_000 };
/** Others may be at work on the machine. */
const SLOW_MS = 30_000;
const OWN = 'rowgram@fake.test';
const UNCERTAIN =
  'uncertain: the connection was lost before the server acknowledged it; ' +
  "set state to 'queued' to send it again";

type Row = { id: number; state: string; submission_info: string | null; stanza_id: string | null };

/** An account on a server of its own; the daemon is the caller's. */
const open = async (t: TestContext, policy: string, script: Partial<Script> = {}) => {
  const db = await testDatabase();
  const server = await startFakeServer({ resumption: 'refused', ...script });
  t.after(async () => {
    await server.stop();
    await db[Symbol.asyncDispose]();
  });
  const account = await insertInto(db, 'xmpp_accounts', {
    enabled: true,
    acc_jid: OWN,
    acc_pass: 'secret',
    srv_host: server.host,
    srv_port: server.port,
    on_uncertain: policy,
  });
  const insert = (message_body: string, columns = {}) =>
    insertInto(db, 'xmpp_tx_queue', {
      account_id: account,
      message_to: 'bob@fake.test',
      message_body,
      ...columns,
    });
  const untilState = (id: number, state: string) =>
    db.until<Row>('select * from xmpp_tx_queue where id = $1 and state = $2', [id, state], SLOW_MS);
  return { db, server, account, insert, untilState };
};

const bodiesOf = (server: FakeServer): string[] =>
  server.sessions.flatMap(({ stanzas }) =>
    stanzas.flatMap(({ element }) =>
      element.name === 'message' ? (element.find('body')?.text ?? []) : [],
    ),
  );

/** Two rows on the wire that nobody acknowledges. */
const sendUnacknowledged = async ({ server, insert }: Awaited<ReturnType<typeof open>>) => {
  const session = await server.waitForSession(1, SLOW_MS);
  await untilLoggedIn(session);
  server.change({ silentAt: 'acks' });
  const ids = [await insert('one'), await insert('two')];
  const sent = await session.next(hasBody('two'), SLOW_MS);
  return { session, ids, sent };
};

const untilLoggedIn = (session: FakeSession) =>
  session.next(({ element }) => element.name === 'presence', SLOW_MS);

test('retry: what is in doubt is sent again with its id', async (t) => {
  const scene = await open(t, 'retry');
  await using _daemon = await startDaemon(scene.db.address, TIMING);
  const { session, ids, sent } = await sendUnacknowledged(scene);
  const queued = await scene.db.rows('select distinct state from xmpp_tx_queue');
  assert.deepEqual(queued, [{ state: 'queued' }]);
  session.reset();
  scene.server.change({ silentAt: null });
  const again = await (await scene.server.waitForSession(2, SLOW_MS)).next(hasBody('two'), SLOW_MS);
  assert.equal(again.element.attrs.id, sent.element.attrs.id);
  for (const id of ids) await scene.untilState(id, 'submitted');
});

test('hold: what is in doubt fails, and goes again when a person says so', async (t) => {
  const scene = await open(t, 'hold');
  const { db, server, untilState, insert } = scene;
  await using _daemon = await startDaemon(db.address, TIMING);
  const { session, ids, sent } = await sendUnacknowledged(scene);
  const [first = 0] = ids;
  for (const id of ids) await untilState(id, 'submitting');
  await assert.rejects(
    db.rows("update xmpp_tx_queue set state = 'cancelled' where id = $1", [first]),
    /is submitting, it cannot become cancelled/,
  );
  session.reset();
  server.change({ silentAt: null });
  for (const id of ids) {
    assert.equal((await untilState(id, 'failed')).submission_info, UNCERTAIN);
  }
  const next = await insert('three');
  await untilState(next, 'submitted');
  // The other one did arrive.
  const second = await server.waitForSession(2, SLOW_MS);
  second.send(
    `<message from='bob@fake.test/a' to='${OWN}'>` +
      `<received xmlns='urn:xmpp:receipts' id='${sent.element.attrs.id}'/></message>`,
  );
  assert.equal((await untilState(ids[1] ?? 0, 'delivered')).submission_info, null);
  await db.rows("update xmpp_tx_queue set state = 'queued' where id = $1", [first]);
  const { submission_info } = await untilState(first, 'submitted');
  assert.equal(submission_info, null);
  assert.deepEqual(bodiesOf(server), ['one', 'two', 'three', 'one']);
});

for (const resumption of ['accepted', 'counted'] as const) {
  test(`hold: nothing is in doubt when resumption is ${resumption}`, async (t) => {
    const scene = await open(t, 'hold', { resumption });
    const { server } = scene;
    await using _daemon = await startDaemon(scene.db.address, TIMING);
    const { session, ids } = await sendUnacknowledged(scene);
    // The last one did not arrive after all.
    const { resumable } = session.state;
    if (resumable) resumable.receivedCount -= 1;
    session.reset();
    server.change({ silentAt: null });
    for (const id of ids) await scene.untilState(id, 'submitted');
    assert.deepEqual(bodiesOf(server), ['one', 'two', 'two']);
  });
}

test('hold: a receipt settles a row that is submitting', async (t) => {
  const scene = await open(t, 'hold');
  await using _daemon = await startDaemon(scene.db.address, TIMING);
  const { session, ids, sent } = await sendUnacknowledged(scene);
  const { id } = sent.element.attrs;
  session.send(
    `<message from='bob@fake.test/a' to='${OWN}'><received xmlns='urn:xmpp:receipts' id='${id}'/></message>`,
  );
  await scene.untilState(ids[1] ?? 0, 'delivered');
  session.reset();
  scene.server.change({ silentAt: null });
  await scene.untilState(ids[0] ?? 0, 'failed');
  await scene.untilState(ids[1] ?? 0, 'delivered');
});

test('hold: rows that an account never sent stay queued when it comes to rest', async (t) => {
  const scene = await open(t, 'hold');
  const { db, server, insert, untilState } = scene;
  await using _daemon = await startDaemon(db.address, TIMING);
  const { session, ids } = await sendUnacknowledged(scene);
  server.change({ password: 'another' });
  session.reset();
  await db.until("select from xmpp_accounts where state = 'refused'");
  for (const id of ids) await untilState(id, 'failed');
  const waiting = await insert('three');
  server.change({ password: 'secret', silentAt: null });
  await db.rows("update xmpp_accounts set acc_pass = 'secret', srv_host = 'localhost'");
  await untilState(waiting, 'submitted');
  assert.deepEqual(bodiesOf(server), ['one', 'two', 'three']);
});

test('hold: what a killed daemon had on the wire fails at the next start', async (t) => {
  const scene = await open(t, 'hold');
  const { db, server, untilState, insert } = scene;
  const spawned = spawnDaemon(db.address);
  t.after(() => spawned[Symbol.asyncDispose]());
  const { ids } = await sendUnacknowledged(scene);
  for (const id of ids) await untilState(id, 'submitting');
  spawned.kill('SIGKILL');
  await spawned.ended;
  const waiting = await insert('three');
  server.change({ silentAt: null });
  await using _daemon = await startDaemon(db.address, TIMING);
  for (const id of ids) {
    assert.equal((await untilState(id, 'failed')).submission_info, UNCERTAIN);
  }
  await untilState(waiting, 'submitted');
  assert.deepEqual(bodiesOf(server), ['one', 'two', 'three']);
});

test('archive: what the archive has is submitted, and only the rest is sent again', async (t) => {
  const archive = createFakeArchive(OWN, (body) => body !== 'two');
  const scene = await open(t, 'archive', { onStanza: archive.onStanza });
  await using _daemon = await startDaemon(scene.db.address, TIMING);
  const { session, ids, sent } = await sendUnacknowledged(scene);
  const waiting = await scene.insert('three', { priority: -1 });
  await session.next(hasBody('three'), SLOW_MS);
  session.reset();
  scene.server.change({ silentAt: null });
  for (const id of [...ids, waiting]) await scene.untilState(id, 'submitted');
  assert.deepEqual(bodiesOf(scene.server), ['one', 'two', 'three', 'two']);
  const [row] = await scene.db.rows<Row>('select * from xmpp_tx_queue where id = $1', [ids[1]]);
  assert.equal(row?.stanza_id, sent.element.attrs.id);
  const [first] = await scene.db.rows<Row>('select * from xmpp_tx_queue where id = $1', [ids[0]]);
  assert.match(first?.stanza_id ?? '', /^\w+\.\w+\.[\w-]{12}$/);
});

test('archive: rows wait until the archive has answered', async (t) => {
  const archive = createFakeArchive(OWN, () => true);
  const scene = await open(t, 'archive', { onStanza: archive.onStanza });
  await using _daemon = await startDaemon(scene.db.address, TIMING);
  const { session, ids } = await sendUnacknowledged(scene);
  archive.isSilent = true;
  session.reset();
  scene.server.change({ silentAt: null });
  await untilLoggedIn(await scene.server.waitForSession(2, SLOW_MS));
  await scene.db.rows('select pg_sleep(1)');
  assert.deepEqual(bodiesOf(scene.server), ['one', 'two']);
  archive.isSilent = false;
  scene.server.sessions.at(-1)?.reset();
  for (const id of ids) await scene.untilState(id, 'submitted');
  assert.deepEqual(bodiesOf(scene.server), ['one', 'two']);
});

test('archive: others can say what they like about messages of ours', async (t) => {
  const archive = createFakeArchive(OWN, () => false);
  const scene = await open(t, 'archive', { onStanza: archive.onStanza });
  await using _daemon = await startDaemon(scene.db.address, TIMING);
  const { session, ids, sent } = await sendUnacknowledged(scene);
  // Somebody else's message with the id of ours.
  archive.messages.push(
    `<message xmlns='jabber:client' type='chat' from='bob@fake.test/x' to='${OWN}' ` +
      `id='${sent.element.attrs.id}'><body>two</body></message>`,
  );
  session.reset();
  scene.server.change({ silentAt: null });
  for (const id of ids) await scene.untilState(id, 'submitted');
  assert.deepEqual(bodiesOf(scene.server), ['one', 'two', 'one', 'two']);
});

test('archive: what stands far back in the archive is found', async (t) => {
  const archive = createFakeArchive(OWN, () => true);
  const scene = await open(t, 'archive', { onStanza: archive.onStanza });
  await using _daemon = await startDaemon(scene.db.address, TIMING);
  const { session, ids } = await sendUnacknowledged(scene);
  for (let n = 0; n < 450; n += 1) {
    archive.messages.push(
      `<message xmlns='jabber:client' type='chat' from='bob@fake.test/x' to='${OWN}'><body>${n}</body></message>`,
    );
  }
  session.reset();
  scene.server.change({ silentAt: null });
  for (const id of ids) await scene.untilState(id, 'submitted');
  assert.deepEqual(bodiesOf(scene.server), ['one', 'two']);
});

test('archive: without an archive it is as with retry', async (t) => {
  const scene = await open(t, 'archive');
  await using _daemon = await startDaemon(scene.db.address, TIMING);
  const { session, ids } = await sendUnacknowledged(scene);
  session.reset();
  scene.server.change({ silentAt: null });
  for (const id of ids) await scene.untilState(id, 'submitted');
  assert.deepEqual(bodiesOf(scene.server), ['one', 'two', 'one', 'two']);
});

for (const death of ['connection cut', 'daemon killed'] as const) {
  test(`archive: nothing that Prosody has is sent twice, nothing is lost: ${death}`, {
    skip: findProsody() === null && !process.env.CI && 'Prosody is not installed',
  }, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'rowgram-uncertain-'));
    const db = await testDatabase();
    const prosody = await startProsody({
      dir,
      accounts: { bot: 'secret', bob: 'secret' },
      // No stream goes on, and nobody counts.
      settings: 'modules_disabled = { "s2s", "s2s_auth_certs", "tls", "smacks" }',
    });
    const proxy = await startFaultProxy({ target: prosody });
    t.after(async () => {
      await proxy.stop();
      await prosody.stop();
      await db[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    });
    const bob = await connectRaw({ ...prosody, jid: 'bob@localhost', password: 'secret' });
    t.after(() => bob.destroy());
    const received = () =>
      bob.stanzas.flatMap(({ element }) => element.find('body')?.text ?? []).map(Number);
    const account = await insertInto(db, 'xmpp_accounts', {
      enabled: true,
      acc_jid: 'bot@localhost',
      acc_pass: 'secret',
      srv_host: proxy.host,
      srv_port: proxy.port,
      on_uncertain: 'archive',
    });
    const start = async () => {
      if (death === 'connection cut') {
        const daemon = await startDaemon(db.address, TIMING);
        return { kill: async () => proxy.reset(), stop: () => daemon.stop(), isAlive: true };
      }
      const spawned = spawnDaemon(db.address);
      const kill = async () => {
        spawned.kill('SIGKILL');
        await spawned.ended;
        proxy.reset();
      };
      return { kill, stop: () => spawned[Symbol.asyncDispose](), isAlive: false };
    };
    let daemon = await start();
    try {
      await db.until("select from xmpp_accounts where state = 'online'", [], SLOW_MS);
      let total = 0;
      for (let turn = 0; turn < 3; turn += 1) {
        proxy.stall('toClient');
        await db.rows(
          `insert into xmpp_tx_queue (account_id, message_to, message_body)
          select $1, 'bob@localhost', n from generate_series($2::integer, $2::integer + 149) n`,
          [account, total + 1],
        );
        const before = received().length;
        total += 150;
        // Some have arrived, and nobody knows.
        while (received().length < before + 40) await new Promise((done) => setTimeout(done, 5));
        await daemon.kill();
        proxy.stall('off');
        if (!daemon.isAlive) daemon = await start();
        await db.until(
          `select from xmpp_tx_queue where state in ('submitted', 'delivered') having count(*) = $1`,
          [total],
          2 * SLOW_MS,
        );
      }
      bob.send("<iq type='get' id='end' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>");
      await bob.next(({ element }) => element.attrs.id === 'end', SLOW_MS);
      assert.deepEqual(
        received(),
        Array.from({ length: total }, (_, at) => at + 1),
      );
    } finally {
      await daemon.stop();
    }
  });
}
