/** Listeners follow their rows, and a thread that ends by itself is started again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createListeners, type Listeners } from '../../src/bytestreams/listeners.ts';
import type { RelayThread } from '../../src/bytestreams/relay/thread.ts';
import { selectStreamhosts } from '../../src/bytestreams/store.ts';
import { createDatabasePool } from '../../src/db/connect.ts';
import { createLog } from '../../src/log.ts';
import { askStream } from '../peers/socks5Client.ts';
import { testDatabase } from '../support/database.ts';
import { findListenPort } from '../support/proxyScene.ts';

const PROXY = 'proxy.example.org';
const HASH = 'a'.repeat(40);

const open = async () => {
  const db = await testDatabase();
  const pool = await createDatabasePool(db.address);
  const lost: RelayThread[] = [];
  const listeners: Listeners = createListeners(pool, createLog('silent'), {
    onCounters() {},
    onEnded() {},
    onLost: (thread) => lost.push(thread),
    isBusy: () => false,
  });
  const port = await findListenPort();
  await db.rows('insert into bytestream_streamhosts (proxy, port) values ($1, $2)', [PROXY, port]);
  return {
    db,
    listeners,
    lost,
    port,
    match: async () => listeners.match(await selectStreamhosts(pool), () => []),
    untilState: (state: string) =>
      db.until('select from bytestream_streamhosts where state = $1', [state]),
    async [Symbol.asyncDispose]() {
      await listeners.close();
      await pool.end();
      await db[Symbol.asyncDispose]();
    },
  };
};

test('a row that is changed, disabled and enabled moves its listener', async () => {
  await using scene = await open();
  const { db, listeners, port, match, untilState } = scene;
  await match();
  await untilState('listening');
  // Without an address it listens on all, of both families.
  const first = await askStream(port, HASH);
  assert.equal(first.code, 0);
  const moved = await findListenPort();
  await db.rows("update bytestream_streamhosts set port = $1, public_host = '[2001:db8::1]'", [
    moved,
  ]);
  await match();
  for (let code: number | undefined; code !== 0; ) ({ code } = await askStream(moved, HASH));
  assert.equal((await askStream(port, HASH)).code, undefined);
  assert.deepEqual(listeners.nextHost(PROXY), { jid: PROXY, host: '2001:db8::1', port: moved });
  await db.rows('update bytestream_streamhosts set enabled = false');
  await match();
  await untilState('off');
  assert.equal(listeners.nextHost(PROXY), null);
  // Before its thread is idle, and closed for that.
  await db.rows('update bytestream_streamhosts set enabled = true');
  await match();
  await untilState('listening');
});

test('what is paused takes nothing, even if it was just being opened, and goes on at the next match', async () => {
  await using scene = await open();
  const { listeners, port, match, untilState } = scene;
  await match();
  listeners.pause();
  const [thread] = listeners.threadsOf(PROXY);
  const limits = { bytesPerSecond: null, maxBytes: null, maxMs: null, budgets: [] };
  // It answers in order: what it was told before is done.
  assert.equal((await thread?.activate({ id: 'x', hashes: [], limits }))?.type, 'unknown');
  assert.equal((await askStream(port, HASH)).code, undefined);
  await match();
  await untilState('listening');
  assert.equal((await askStream(port, HASH)).code, 0);
});

test('a thread that fails is told in the row, and started again', async () => {
  await using scene = await open();
  const { db, listeners, lost, port, match, untilState } = scene;
  await match();
  await untilState('listening');
  const [thread] = listeners.threadsOf(PROXY);
  thread?.send({ type: 'configure' } as never);
  const { state_info } = await db.until<{ state_info: string }>(
    "select state_info from bytestream_streamhosts where state = 'failed'",
  );
  assert.notEqual(state_info, '');
  assert.deepEqual(lost, [thread]);
  await untilState('listening');
  assert.equal((await askStream(port, HASH)).code, 0);
});
