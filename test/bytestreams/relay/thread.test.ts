import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { FromRelay } from '../../../src/bytestreams/relay/messages.ts';
import { startRelayThread } from '../../../src/bytestreams/relay/thread.ts';
import { askStream, readAll, readBytes, untilClosed } from '../../peers/socks5Client.ts';

const BOUNDS = {
  maxPending: 100,
  maxPendingPerAddress: 50,
  handshakeMs: 10_000,
  pendingMs: 60_000,
  maxEarlyBytes: 65_536,
  maxEarlyTotalBytes: 1_048_576,
  idleMs: 900_000,
};
const LIMITS = { bytesPerSecond: null, maxBytes: null, maxMs: null, budgets: [] };

/** A thread whose messages can be waited for, each once. */
const openThread = () => {
  const heard: FromRelay[] = [];
  let wake = () => {};
  const lost = Promise.withResolvers<unknown>();
  const thread = startRelayThread({
    onMessage: (message) => {
      heard.push(message);
      wake();
    },
    onLost: lost.resolve,
  });
  thread.send({ type: 'configure', bounds: BOUNDS, rules: [] });
  const next = async <T extends FromRelay['type']>(
    type: T,
    fits: (message: FromRelay & { type: T }) => boolean = () => true,
  ): Promise<FromRelay & { type: T }> => {
    for (;;) {
      const at = heard.findIndex((message) => {
        return message.type === type && fits(message as FromRelay & { type: T }); // as just compared
      });
      if (at >= 0) return heard.splice(at, 1)[0] as FromRelay & { type: T }; // as just found
      await new Promise<void>((done) => {
        wake = done;
      });
    }
  };
  return { thread, next, lost: lost.promise };
};

test('a thread listens, relays, counts, kills and closes', async () => {
  const { thread, next } = openThread();
  thread.send({ type: 'listen', host: '127.0.0.1', port: 0 });
  const { port } = await next('listening');
  const open = async (id: string) => {
    const hash = randomBytes(20).toString('hex');
    const { socket: target } = await askStream(port, hash);
    const { socket: requester } = await askStream(port, hash);
    const verdict = await thread.activate({ id, hashes: [hash], limits: LIMITS });
    assert.deepEqual(verdict, {
      type: 'activated',
      hash,
      requester: '127.0.0.1',
      target: '127.0.0.1',
    });
    return { requester, target };
  };
  const one = await open('one');
  const two = await open('two');
  one.requester.write(Buffer.alloc(1_000));
  await readBytes(one.target, 1_000);
  const { streams } = await next('counters', (message) => message.streams.length > 0);
  assert.deepEqual(
    streams.map(({ id, up, down }) => ({ id, up, down })),
    [{ id: 'one', up: 1_000, down: 0 }],
  );
  thread.send({ type: 'kill', id: 'one', reason: 'killed' });
  await Promise.all([untilClosed(one.requester), untilClosed(one.target)]);
  assert.equal((await next('ended')).reason, 'killed');
  two.requester.write('last');
  await readBytes(two.target, 4);
  await thread.close();
  const ended = await next('ended');
  assert.deepEqual([ended.reason, ended.counters.up], ['shutdown', 4]);
  await readAll(two.target);
});

test('a port that is taken is told, and can be had later; what is there outlives the listener', async () => {
  const [first, second] = [openThread(), openThread()];
  first.thread.send({ type: 'listen', host: '127.0.0.1', port: 0 });
  const { port } = await first.next('listening');
  second.thread.send({ type: 'listen', host: '127.0.0.1', port });
  assert.match((await second.next('failed')).reason, /EADDRINUSE/);
  const waiting = await askStream(port, randomBytes(20).toString('hex'));
  first.thread.send({ type: 'unlisten' });
  // It answers in order: the port is free by then.
  await first.thread.activate({ id: 'none', hashes: [], limits: LIMITS });
  second.thread.send({ type: 'listen', host: '127.0.0.1', port });
  assert.equal((await second.next('listening')).port, port);
  assert.equal(waiting.socket.readableEnded, false);
  await Promise.all([first.thread.close(), second.thread.close()]);
});
