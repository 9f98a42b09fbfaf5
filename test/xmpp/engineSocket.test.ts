import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { createEngineSocket } from '../../src/xmpp/engineSocket.ts';

/** Two ends of one connection on loopback, destroyed at the end of the test. */
const connectPair = async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  // The server is listening on TCP, so this is no path and not null.
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
  // What the event 'connection' of a server brings.
  const [far] = (await once(server, 'connection')) as [Socket];
  await once(near, 'connect');
  far.on('error', () => {});
  return {
    near,
    far,
    [Symbol.dispose]() {
      server.close();
      near.destroy();
      far.destroy();
    },
  };
};

test('connect is said after it was called, and what came before it is not lost', async () => {
  using pair = await connectPair();
  pair.far.write('early');
  await once(pair.near, 'readable');
  const socket = createEngineSocket(pair.near, true);
  assert.equal(socket.secure, true);
  socket.connect({ port: 5222 });
  const data = once(socket, 'data');
  await once(socket, 'connect');
  assert.equal(String((await data)[0]), 'early');
});

test('text is written, and end closes without an error', async () => {
  using pair = await connectPair();
  const socket = createEngineSocket(pair.near, false);
  socket.connect();
  await once(socket, 'connect');
  const written = Promise.withResolvers<unknown>();
  socket.write('текст', written.resolve);
  assert.equal(String((await once(pair.far, 'data'))[0]), 'текст');
  assert.equal((await written.promise) ?? null, null);
  const closed = once(socket, 'close');
  socket.end();
  assert.deepEqual(await closed, [false, null]);
});

test('a write after the end or the close calls back with an error and emits none', async () => {
  using pair = await connectPair();
  const socket = createEngineSocket(pair.near, false);
  socket.connect();
  await once(socket, 'connect');
  socket.on('error', () => assert.fail('an error was emitted'));
  const fail = async () => {
    const written = Promise.withResolvers<unknown>();
    assert.equal(socket.write('late', written.resolve), false);
    assert.match(String(await written.promise), /RetryError: the connection is closed/);
  };
  socket.end();
  await fail();
  socket.destroy();
  await once(socket, 'close');
  await fail();
});

test('an error is told before the close, and needs no listener', async () => {
  for (const isHeard of [true, false]) {
    using pair = await connectPair();
    const socket = createEngineSocket(pair.near, false);
    socket.connect();
    await once(socket, 'connect');
    const seen: string[] = [];
    if (isHeard) socket.on('error', ({ message }) => seen.push(message));
    const closed = Promise.withResolvers<boolean>();
    socket.on('close', (isDirty) => closed.resolve(isDirty));
    pair.far.resetAndDestroy();
    assert.equal(await closed.promise, true);
    assert.deepEqual(seen, isHeard ? ['read ECONNRESET'] : []);
  }
});

test('a stream that is closed before connect is told as an error and a close', async () => {
  using pair = await connectPair();
  const socket = createEngineSocket(pair.near, false);
  pair.near.destroy();
  await once(pair.near, 'close');
  socket.connect();
  const closed = once(socket, 'close', { signal: AbortSignal.timeout(1_000) });
  await assert.rejects(once(socket, 'connect'), /the connection is closed/);
  await assert.rejects(closed, /the connection is closed/);
});

test('nothing is read while it is paused', async () => {
  using pair = await connectPair();
  const socket = createEngineSocket(pair.near, false);
  socket.connect();
  await once(socket, 'connect');
  const chunks: string[] = [];
  socket.on('data', (bytes) => chunks.push(String(bytes)));
  socket.pause();
  await new Promise((resolve) => pair.far.write('held', resolve));
  // Loopback is as fast as that: the next turn of the event loop would read it.
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
  assert.deepEqual(chunks, []);
  socket.resume();
  await once(socket, 'data');
  assert.deepEqual(chunks, ['held']);
});
