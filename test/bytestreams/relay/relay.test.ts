import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type {
  Bounds,
  Counters,
  EndReason,
  StreamLimits,
} from '../../../src/bytestreams/relay/messages.ts';
import {
  canReuse,
  type OpenReading,
  openPlainReading,
  openReusedReading,
} from '../../../src/bytestreams/relay/reading.ts';
import { createRelay } from '../../../src/bytestreams/relay/relay.ts';
import {
  askStream,
  encodeConnect,
  GREETING,
  openSocket,
  readAll,
  readBytes,
  untilClosed,
} from '../../peers/socks5Client.ts';

const BOUNDS: Bounds = {
  maxPending: 100,
  maxPendingPerAddress: 50,
  handshakeMs: 10_000,
  pendingMs: 60_000,
  maxEarlyBytes: 65_536,
  maxEarlyTotalBytes: 1_048_576,
  idleMs: 900_000,
};

const UNLIMITED: StreamLimits = {
  bytesPerSecond: null,
  maxBytes: null,
  maxMs: null,
  budgets: [],
};

type Ended = { counters: Counters; reason: EndReason };

/** A relay on a free port, whose clock is moved by hand where `skip` is called. */
const openRelay = async (bounds: Partial<Bounds> = {}, open: OpenReading = openReusedReading) => {
  let skippedMs = 0;
  const ended: Ended[] = [];
  let wake = () => {};
  const relay = createRelay({
    open,
    now: () => Date.now() + skippedMs,
    onEnded: (counters, reason) => {
      ended.push({ counters, reason });
      wake();
    },
  });
  relay.configure({ ...BOUNDS, ...bounds }, []);
  const port = await relay.listen('127.0.0.1', 0);
  const newHash = () => randomBytes(20).toString('hex');
  const sockets: Socket[] = [];
  const ask = async (hash: string) => {
    const asked = await askStream(port, hash);
    sockets.push(asked.socket);
    return asked;
  };
  return {
    relay,
    port,
    ended,
    newHash,
    ask,
    skip(ms: number) {
      skippedMs += ms;
      relay.tick();
    },
    async untilEnded(count = 1): Promise<Ended> {
      while (ended.length < count) await new Promise<void>((done) => (wake = done));
      const last = ended.at(-1);
      assert.ok(last);
      return last;
    },
    /** Both legs, the target's first as in a real dialogue, and the activation. */
    async openStream(limits: Partial<StreamLimits> = {}, id = 'one') {
      const hash = newHash();
      const { socket: target } = await ask(hash);
      const { socket: requester } = await ask(hash);
      const verdict = relay.activate({ id, hashes: [hash], limits: { ...UNLIMITED, ...limits } });
      assert.equal(verdict.type, 'activated');
      return { hash, requester, target };
    },
    async [Symbol.asyncDispose]() {
      relay.close();
      for (const socket of sockets) socket.destroy();
    },
  };
};

const sha = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex');

test('buffers can be used again on this Node, and a way of reading that loses bytes is found out', async () => {
  assert.equal(await canReuse(), true);
  const broken: OpenReading = (accepted, reader) =>
    openReusedReading(accepted, {
      ...reader,
      onBytes: (bytes) => reader.onBytes(bytes.subarray(1)),
    });
  assert.equal(await canReuse(broken), false);
});

for (const [way, open] of [
  ['reused buffers', openReusedReading],
  ['plain reading', openPlainReading],
] as const) {
  describe(`with ${way}`, () => {
    test('both directions carry every byte, past a reader that is slow, and the counts are exact', async () => {
      await using scene = await openRelay({}, open);
      const { requester, target } = await scene.openStream();
      const up = randomBytes(8 * 1_048_576);
      const down = randomBytes(3 * 1_048_576 + 17);
      requester.end(up);
      target.end(down);
      await delay(200);
      const [gotUp, gotDown] = await Promise.all([readAll(target), readAll(requester)]);
      assert.equal(sha(gotUp), sha(up));
      assert.equal(sha(gotDown), sha(down));
      const { counters, reason } = await scene.untilEnded();
      assert.equal(reason, 'eof');
      assert.deepEqual([counters.up, counters.down], [up.length, down.length]);
    });

    test('one that has sent its end still gets the answer', async () => {
      await using scene = await openRelay({}, open);
      const { requester, target } = await scene.openStream();
      requester.end('question');
      assert.equal((await readAll(target)).toString(), 'question');
      const answer = randomBytes(200_000);
      target.end(answer);
      assert.equal(sha(await readAll(requester)), sha(answer));
      assert.equal((await scene.untilEnded()).reason, 'eof');
    });

    test('what comes before the activation is relayed first, up to a bound that stops the sender', async () => {
      await using scene = await openRelay({}, open);
      const hash = scene.newHash();
      const { socket: target } = await scene.ask(hash);
      const { socket: requester } = await scene.ask(hash);
      const sent = randomBytes(4 * 1_048_576);
      requester.end(sent);
      await delay(100);
      scene.relay.activate({ id: 'one', hashes: [hash], limits: UNLIMITED });
      assert.equal(sha(await readAll(target)), sha(sent));
    });

    test('a quota ends the stream at its byte, within one read', async () => {
      await using scene = await openRelay({}, open);
      scene.relay.setBudget('user', 100_001);
      const { requester, target } = await scene.openStream({ budgets: ['user'] });
      requester.write(randomBytes(1_048_576));
      assert.equal((await readAll(target)).length, 100_001);
      target.end();
      const { counters, reason } = await scene.untilEnded();
      assert.equal(reason, 'quota');
      assert.deepEqual([counters.up, counters.down], [100_001, 0]);
    });
  });
}

test('small pieces, each cut anew, arrive in order', async () => {
  await using scene = await openRelay();
  const { requester, target } = await scene.openStream();
  const sent = randomBytes(300_000);
  for (let at = 0; at < sent.length; at += 1 + (at % 3_000)) {
    requester.write(sent.subarray(at, at + 1 + (at % 3_000)));
    if (at % 7 === 0) await delay(0);
  }
  requester.end();
  assert.equal(sha(await readAll(target)), sha(sent));
});

test('the greeting may come byte by byte, the request split, and all at once', async () => {
  await using scene = await openRelay();
  const whole = Buffer.concat([GREETING, encodeConnect(scene.newHash())]);
  for (const size of [1, 3, 20, whole.length]) {
    const socket = await openSocket(scene.port);
    socket.setNoDelay(true);
    for (let at = 0; at < whole.length; at += size) {
      socket.write(whole.subarray(at, at + size));
      await delay(1);
    }
    const reply = await readBytes(socket, 49);
    assert.equal(reply.subarray(0, 4).toString('hex'), '05000500');
    assert.deepEqual(reply.subarray(4), whole.subarray(5));
    socket.destroy();
    await delay(10);
  }
});

test('a third leg is refused, before the activation and after it, and harms no one', async () => {
  await using scene = await openRelay();
  const hash = scene.newHash();
  const { socket: target } = await scene.ask(hash);
  const { socket: requester } = await scene.ask(hash);
  assert.equal((await scene.ask(hash)).code, 2);
  scene.relay.activate({ id: 'one', hashes: [hash], limits: UNLIMITED });
  const third = await scene.ask(hash);
  assert.equal(third.code, 2);
  third.socket.destroy();
  requester.end('whole');
  assert.equal((await readAll(target)).toString(), 'whole');
});

test('when one of two that wait drops, it may come again, and so may both', async () => {
  await using scene = await openRelay();
  const hash = scene.newHash();
  const first = await scene.ask(hash);
  await scene.ask(hash);
  first.socket.destroy();
  while (scene.relay.pending() > 1) await delay(5);
  assert.equal(
    scene.relay.activate({ id: 'a', hashes: [hash], limits: UNLIMITED }).type,
    'one leg',
  );
  const again = await scene.ask(hash);
  assert.equal(again.code, 0);
  const other = await scene.ask(hash);
  assert.equal(other.code, 0);
  assert.equal((await scene.ask(hash)).code, 2);
  const verdict = scene.relay.activate({ id: 'b', hashes: [hash], limits: UNLIMITED });
  assert.equal(verdict.type, 'activated');
  again.socket.end('through');
  assert.equal((await readAll(other.socket)).toString(), 'through');
});

test('an activation tells an unknown stream, a missing leg and a stream that is active apart', async () => {
  await using scene = await openRelay();
  const hash = scene.newHash();
  const activate = (hashes: string[]) =>
    scene.relay.activate({ id: 'x', hashes, limits: UNLIMITED }).type;
  assert.equal(activate([hash]), 'unknown');
  await scene.ask(hash);
  assert.equal(activate([scene.newHash(), hash]), 'one leg');
  await scene.ask(hash);
  assert.equal(activate([scene.newHash(), hash]), 'activated');
  assert.equal(activate([hash]), 'active');
});

test('who does not ask, or is not activated, is dropped in time', async () => {
  await using scene = await openRelay();
  const silent = await openSocket(scene.port);
  const slow = await openSocket(scene.port);
  slow.write(GREETING);
  await readBytes(slow, 2);
  const { socket: pending } = await scene.ask(scene.newHash());
  scene.skip(10_100);
  await Promise.all([untilClosed(silent), untilClosed(slow)]);
  assert.equal(scene.relay.pending(), 1);
  scene.skip(50_100);
  await untilClosed(pending);
  assert.equal(scene.relay.pending(), 0);
});

test('connections without a stream are bounded by address and in all, and active ones do not count', async () => {
  await using scene = await openRelay({ maxPendingPerAddress: 2 });
  await scene.openStream();
  const [first, second] = [await openSocket(scene.port), await openSocket(scene.port)];
  while (scene.relay.pending() < 2) await delay(5);
  await untilClosed(await openSocket(scene.port));
  first.destroy();
  second.destroy();
  while (scene.relay.pending() > 0) await delay(5);
  assert.equal((await scene.ask(scene.newHash())).code, 0);
});

test('what all connections send early is bounded', async () => {
  await using scene = await openRelay({ maxEarlyTotalBytes: 100_000 });
  const first = await scene.ask(scene.newHash());
  const second = await scene.ask(scene.newHash());
  first.socket.write(Buffer.alloc(60_000));
  await delay(50);
  second.socket.write(Buffer.alloc(60_000));
  await untilClosed(second.socket);
  assert.equal(first.socket.destroyed, false);
});

test('a network that is denied cannot connect, nor be activated once it is', async () => {
  await using scene = await openRelay();
  const hash = scene.newHash();
  await scene.ask(hash);
  await scene.ask(hash);
  scene.relay.configure(BOUNDS, [
    { action: 'allow', network: '10.0.0.0/8' },
    { action: 'deny', network: '127.0.0.0/8' },
  ]);
  assert.equal(scene.relay.activate({ id: 'x', hashes: [hash], limits: UNLIMITED }).type, 'denied');
  await untilClosed(await openSocket(scene.port));
});

test('one direction that trickles keeps the stream, and silence ends it', async () => {
  await using scene = await openRelay({ idleMs: 1_000 });
  const { requester, target } = await scene.openStream();
  for (let i = 0; i < 5; i += 1) {
    scene.skip(900);
    requester.write('x');
    await readBytes(target, 1);
  }
  scene.skip(1_100);
  const { counters, reason } = await scene.untilEnded();
  assert.equal(reason, 'idle');
  assert.equal(counters.up, 5);
});

test('a stream ends at its own limits of bytes and of time', async () => {
  await using scene = await openRelay();
  const bytes = await scene.openStream({ maxBytes: 10 }, 'bytes');
  bytes.requester.write('0123456789');
  assert.equal((await readBytes(bytes.target, 10)).length, 10);
  bytes.target.write('a');
  await untilClosed(bytes.target);
  bytes.requester.end();
  assert.equal((await scene.untilEnded()).reason, 'max_bytes');
  await scene.openStream({ maxMs: 5_000 }, 'time');
  scene.skip(5_100);
  assert.equal((await scene.untilEnded(2)).reason, 'max_time');
});

test('streams that share a budget end together at its last byte', async () => {
  await using scene = await openRelay();
  scene.relay.setBudget('user', 1_000);
  const one = await scene.openStream({ budgets: ['user'] }, 'one');
  const two = await scene.openStream({ budgets: ['user'] }, 'two');
  one.requester.write(Buffer.alloc(600));
  await readBytes(one.target, 600);
  two.requester.write(Buffer.alloc(600));
  assert.equal((await readAll(two.target)).length, 400);
});

test('a stream that is killed closes both legs, and a leg that is reset the other', async () => {
  await using scene = await openRelay();
  const killed = await scene.openStream({}, 'killed');
  scene.relay.kill('killed', 'killed');
  await Promise.all([untilClosed(killed.requester), untilClosed(killed.target)]);
  assert.equal((await scene.untilEnded()).reason, 'killed');
  const reset = await scene.openStream({}, 'reset');
  reset.requester.resetAndDestroy();
  await untilClosed(reset.target);
  assert.equal((await scene.untilEnded(2)).reason, 'reset');
});

test('who goes on sending to one that was done and is gone is reset', async () => {
  await using scene = await openRelay();
  const { requester, target } = await scene.openStream();
  requester.end('all');
  assert.equal((await readAll(target)).toString(), 'all');
  requester.resetAndDestroy();
  await delay(50);
  target.write(Buffer.alloc(1_048_576));
  await untilClosed(target);
  const { counters, reason } = await scene.untilEnded();
  assert.equal(reason, 'reset');
  assert.equal(counters.up, 3);
});

test('a rate holds within 10 %, and a new one takes effect at once', {
  timeout: 60_000,
}, async () => {
  await using scene = await openRelay();
  const { requester, target } = await scene.openStream({ bytesPerSecond: 2_000_000 });
  let got = 0;
  target.on('data', ({ length }) => {
    got += length;
  });
  const feed = () => {
    while (requester.writable && requester.write(Buffer.alloc(65_536)));
  };
  requester.on('drain', feed);
  feed();
  const measure = async (rate: number, ms: number) => {
    const before = got;
    await delay(ms);
    const perSecond = ((got - before) * 1_000) / ms;
    assert.ok(Math.abs(perSecond / rate - 1) < 0.1, `${perSecond} B/s at ${rate}`);
  };
  await measure(2_000_000, 5_000);
  scene.relay.setRate('one', 100_000);
  await measure(100_000, 5_000);
  scene.relay.setRate('one', null);
  const before = got;
  await delay(500);
  assert.ok(got - before > 10_000_000);
  assert.ok(scene.relay.takeCounters()[0]?.id === 'one');
});
