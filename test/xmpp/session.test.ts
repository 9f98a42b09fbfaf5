/** The way to a session, cut at every step: the account hears of it, and the process lives on. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { RetryError } from '../../src/errors.ts';
import { openSession } from '../../src/xmpp/session.ts';
import { startFakeServer } from '../peers/fakeServer.ts';

/** Passes on so many pieces, of both directions together; the next one resets the connection. */
const startCutter = async (target: { host: string; port: number }, pieces: number) => {
  const sockets: Socket[] = [];
  let passed = 0;
  let isCut = false;
  const server = createServer((client) => {
    const upstream = connect(target);
    sockets.push(client, upstream);
    const pass = (from: Socket, to: Socket) =>
      from.on('data', (bytes) => {
        isCut ||= passed === pieces;
        passed += 1;
        if (isCut) client.resetAndDestroy();
        else to.write(bytes);
      });
    pass(client, upstream);
    pass(upstream, client);
    for (const socket of [client, upstream]) socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // of TCP, so no string
  return {
    port,
    hasCut: () => isCut,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
};

const handlers = { onStanza: () => {}, onAcknowledged: () => {}, onClose: () => {} };
const account = {
  jid: 'rowgram@fake.test',
  password: 'secret',
  resource: 'a',
  host: '127.0.0.1',
  tls: 'none',
  ca: null,
} as const;

test('a stream is resumed where its server wants it, or else where the account is', async () => {
  const [usual, other] = [await startFakeServer({}), await startFakeServer({})];
  for (const at of [other.port, 1]) {
    const resumption = {
      id: 'x',
      h: 0,
      location: `127.0.0.1:${at}`,
      fullJid: 'rowgram@fake.test/a',
    };
    const options = { ...account, port: usual.port, resumption };
    const session = await openSession(options, handlers, AbortSignal.timeout(5_000));
    assert.equal(session.via, `127.0.0.1:${at === 1 ? usual.port : at}, in clear`);
    session.drop(null);
  }
  await Promise.all([usual.stop(), other.stop()]);
});

test('a reset at any step of the login is an outage, and no more', async () => {
  const server = await startFakeServer({});
  let hasOpened = false;
  for (let pieces = 0; !hasOpened; pieces += 1) {
    await using cutter = await startCutter(server, pieces);
    const options = { ...account, port: cutter.port, resumption: null };
    const opening = openSession(options, handlers, AbortSignal.timeout(5_000));
    const [outcome] = await Promise.allSettled([opening]);
    hasOpened = outcome.status === 'fulfilled';
    if (outcome.status === 'fulfilled') outcome.value.drop(null);
    else assert.ok(outcome.reason instanceof RetryError, String(outcome.reason));
    assert.ok(hasOpened || cutter.hasCut());
    assert.ok(pieces < 30);
  }
  await server.stop();
});
