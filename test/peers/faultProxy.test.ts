/** Each control of the fault proxy does what it says. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type FaultProxy, startFaultProxy } from './faultProxy.ts';

/** One end of a connection, and all that it has seen. */
type End = {
  socket: Socket;
  text(): string;
  /** Settles when the text has arrived. */
  saw(text: string): Promise<void>;
  /** Settles with the code of the error that ended it, or null for an end in good order. */
  closed: Promise<string | null>;
  /** Settles when the other side has ended. */
  ended: Promise<void>;
};

const watch = (socket: Socket): End => {
  let text = '';
  let code: string | null = null;
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
    socket.emit('text');
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code ?? 'unknown';
  });
  const on = (name: string) => new Promise<void>((resolve) => socket.once(name, () => resolve()));
  return {
    socket,
    text: () => text,
    async saw(wanted) {
      while (!text.includes(wanted)) await once(socket, 'text');
    },
    closed: on('close').then(() => code),
    ended: on('end'),
  };
};

const startTarget = async (t: TestContext): Promise<{ server: Server; port: number }> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo; // a server on a port has such an address
  return { server, port };
};

const start = async (t: TestContext) => {
  const { server, port } = await startTarget(t);
  const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port } });
  t.after(() => proxy.stop());
  return { proxy, server, port };
};

const open = (t: TestContext, proxy: FaultProxy): End => {
  const socket = connect({ host: proxy.host, port: proxy.port });
  t.after(() => socket.destroy());
  return watch(socket);
};

/** Both ends of a connection that has carried a word each way. */
const openBoth = async (t: TestContext, proxy: FaultProxy, server: Server) => {
  const taken = once(server, 'connection');
  const client = open(t, proxy);
  const far = watch((await taken)[0]);
  t.after(() => far.socket.destroy());
  client.socket.write('hello;');
  await far.saw('hello;');
  far.socket.write('welcome;');
  await client.saw('welcome;');
  return { client, far };
};

/** Long enough for anything that would pass to have passed: a whole exchange beside the proxy. */
const assertSilence = async (t: TestContext, end: End): Promise<void> => {
  const before = end.text();
  const { proxy, server } = await start(t);
  await openBoth(t, proxy, server);
  await setImmediate();
  assert.equal(end.text(), before);
};

test('bytes and ends pass, and are counted', async (t) => {
  const { proxy, server } = await start(t);
  const { client, far } = await openBoth(t, proxy, server);
  const open = { connections: 1, open: 1, toServerBytes: 6, toClientBytes: 8 };
  assert.deepEqual(proxy.counts(), open);
  client.socket.end('bye;');
  await far.ended;
  assert.equal(far.text(), 'hello;bye;');
  assert.equal(await client.closed, null);
  assert.equal(await far.closed, null);
});

test('reset is seen by both sides', async (t) => {
  const { proxy, server } = await start(t);
  const { client, far } = await openBoth(t, proxy, server);
  proxy.reset();
  assert.equal(await client.closed, 'ECONNRESET');
  assert.equal(await far.closed, 'ECONNRESET');
  assert.equal(proxy.counts().open, 0);
});

test('close ends both sides in good order', async (t) => {
  const { proxy, server } = await start(t);
  const { client, far } = await openBoth(t, proxy, server);
  proxy.close();
  await Promise.all([client.ended, far.ended]);
  assert.deepEqual(await Promise.all([client.closed, far.closed]), [null, null]);
});

test('a blackhole holds bytes and new connections, and gives them back', async (t) => {
  const { proxy, server } = await start(t);
  const { client, far } = await openBoth(t, proxy, server);
  proxy.blackhole('hold');
  client.socket.write('held;');
  far.socket.write('held;');
  const later = open(t, proxy);
  await once(later.socket, 'connect');
  later.socket.write('new;');
  await assertSilence(t, far);
  assert.equal(client.text(), 'welcome;');
  const taken = once(server, 'connection');
  proxy.blackhole('off');
  await Promise.all([client.saw('held;'), far.saw('held;')]);
  const [socket] = await taken;
  await watch(socket).saw('new;');
});

test('a blackhole that drops gives nothing back', async (t) => {
  const { proxy, server } = await start(t);
  const { client, far } = await openBoth(t, proxy, server);
  proxy.blackhole('drop');
  client.socket.write('lost;');
  await assertSilence(t, far);
  proxy.blackhole('off');
  client.socket.write('after;');
  await far.saw('after;');
  assert.equal(far.text(), 'hello;after;');
});

test('half open, one side is gone and the other does not know', async (t) => {
  const { proxy, server } = await start(t);
  const first = await openBoth(t, proxy, server);
  proxy.halfOpen('server');
  assert.equal(await first.far.closed, 'ECONNRESET');
  first.client.socket.write('anyone?;');
  await assertSilence(t, first.client);
  assert.equal(first.client.socket.readyState, 'open');
  const second = await openBoth(t, proxy, server);
  proxy.halfOpen('client');
  assert.equal(await second.client.closed, 'ECONNRESET');
  await assertSilence(t, second.far);
  assert.equal(second.far.socket.readyState, 'open');
});

test('a stall holds one direction alone', async (t) => {
  const { proxy, server } = await start(t);
  const { client, far } = await openBoth(t, proxy, server);
  proxy.stall('toServer');
  client.socket.write('waits;');
  far.socket.write('passes;');
  await client.saw('passes;');
  await assertSilence(t, far);
  proxy.stall('off');
  await far.saw('waits;');
});

test('a stall fills the buffers of the sender', async (t) => {
  const { proxy, server } = await start(t);
  const { client, far } = await openBoth(t, proxy, server);
  proxy.stall('toServer');
  const sizeBytes = 32 * 1024 * 1024;
  client.socket.write(Buffer.alloc(sizeBytes, 'x'));
  await assertSilence(t, far);
  assert.ok(client.socket.writableLength > 0);
  proxy.stall('off');
  client.socket.end();
  await far.ended;
  assert.equal(far.text().length, 6 + sizeBytes);
});

test('refused connections are reset, and counted', async (t) => {
  const { proxy, server } = await start(t);
  proxy.refuse('on');
  const refused = open(t, proxy);
  assert.equal(await refused.closed, 'ECONNRESET');
  await proxy.waitForConnections(1);
  proxy.refuse('off');
  await openBoth(t, proxy, server);
  assert.equal(proxy.counts().connections, 2);
});

test('a new target is for new connections; one that is not there resets them', async (t) => {
  const { proxy, server } = await start(t);
  const old = await openBoth(t, proxy, server);
  const other = await startTarget(t);
  proxy.retarget({ host: '127.0.0.1', port: other.port });
  await openBoth(t, proxy, other.server);
  old.client.socket.write('still;');
  await old.far.saw('still;');
  other.server.close();
  const orphan = open(t, proxy);
  assert.equal(await orphan.closed, 'ECONNRESET');
});

test('a trickle passes small pieces in order, and what is left when the link closes', async (t) => {
  const { proxy, server } = await start(t);
  const { client, far } = await openBoth(t, proxy, server);
  const sizes: number[] = [];
  far.socket.on('data', (chunk) => sizes.push(chunk.length));
  proxy.trickle(2, 2);
  client.socket.write('abcdefghi;');
  await far.saw('abcdefghi;');
  assert.ok(sizes.length > 1);
  proxy.trickle(1, 60_000);
  client.socket.write('rest;');
  await far.saw('r');
  proxy.close();
  await far.saw('rest;');
  assert.equal(await client.closed, null);
});
