/** An active stream: two legs, each of which gets what the other sends, within the limits. */
import { type Bucket, createBucket } from './bucket.ts';
import { type BufferBudget, createReadBuffer } from './buffers.ts';
import type { Leg } from './leg.ts';
import type { Counters, EndReason, StreamLimits } from './messages.ts';

/** What is left for all streams that share it; counted down by each. */
export type Budget = { bytes: number };

export type StreamParts = {
  id: string;
  requester: Leg;
  target: Leg;
  limits: StreamLimits;
  budgets: Budget[];
  memory: BufferBudget;
  now(): number;
  onEnd(stream: Stream, reason: EndReason): void;
};

export type Stream = {
  counters: Counters;
  startedAtMs: number;
  setRate(bytesPerSecond: number | null): void;
  /** Both legs are reset at once. */
  kill(reason: EndReason): void;
};

/** How long what was granted may take to reach the other end once a limit has ended the stream. */
const FLUSH_MS = 10_000;

/** What may come for a leg that is closed. */
const LOST_BYTES = 65_536;

/** What keeps a direction from being read. */
const Hold = { flush: 1, rate: 2 } as const;

export const startStream = (parts: StreamParts): Stream => {
  const { id, requester, target, limits, budgets, memory, now, onEnd } = parts;
  const bucket: Bucket = createBucket(limits.bytesPerSecond, now());
  const legs = [requester, target];
  const wakers = new Set<() => void>();
  let reason: EndReason | null = null;
  let openLegs = legs.length;
  let flushTimer: NodeJS.Timeout | undefined;

  /** How many of the bytes may pass, and what ends the stream if not all of them. */
  const grant = (bytes: number): { granted: number; excess: EndReason | null } => {
    const { up, down } = counters;
    const own = limits.maxBytes === null ? bytes : Math.max(0, limits.maxBytes - up - down);
    const common = Math.max(0, Math.min(bytes, ...budgets.map((budget) => budget.bytes)));
    const granted = Math.min(bytes, own, common);
    for (const budget of budgets) budget.bytes -= granted;
    if (granted === bytes) return { granted, excess: null };
    return { granted, excess: own <= common ? 'max_bytes' : 'quota' };
  };

  const endLeg = (from: Leg) => {
    openLegs -= 1;
    memory.legs -= 1;
    const other = from === requester ? target : requester;
    // One that has sent its end may be gone: what it sent is still on its way to the other.
    if (from.socket.readableEnded || reason) other.socket.end();
    else {
      reason = 'reset';
      other.socket.resetAndDestroy();
    }
    if (openLegs > 0) return;
    clearTimeout(flushTimer);
    for (const wake of wakers) wake();
    onEnd(stream, reason ?? 'eof');
  };

  /** A limit is reached: who sends is cut off, who receives gets what was granted, and then the end. */
  const cut = (from: Leg, to: Leg, excess: EndReason) => {
    reason = excess;
    to.socket.end();
    from.socket.resetAndDestroy();
    flushTimer = setTimeout(() => to.socket.destroy(), FLUSH_MS);
  };

  const openFlow = (from: Leg, to: Leg, count: (bytes: number) => void) => {
    const buffer = createReadBuffer(memory);
    let filledBytes = 0;
    let lostBytes = 0;
    let holds = 0;
    let timer: NodeJS.Timeout | undefined;

    const lift = (hold: number) => {
      if (!(holds & hold)) return;
      holds &= ~hold;
      if (holds === 0 && !from.socket.destroyed) from.resume();
    };
    const onFlushed = () => {
      if (to.socket.writableLength === 0) lift(Hold.flush);
    };
    const wake = () => {
      clearTimeout(timer);
      lift(Hold.rate);
    };
    wakers.add(wake);

    /** For one that was done and is gone: last words are lost quietly, more ends the stream. */
    const lose = (bytes: number): boolean => {
      lostBytes += bytes;
      if (lostBytes > LOST_BYTES) stream.kill('reset');
      return true;
    };

    const onBytes = (bytes: Buffer): boolean => {
      filledBytes = bytes.length;
      if (reason) return true;
      if (!to.socket.writable) return lose(bytes.length);
      const { granted, excess } = grant(bytes.length);
      const nowMs = now();
      count(granted);
      counters.lastByteAtMs = nowMs;
      if (granted > 0) to.socket.write(bytes.subarray(0, granted), onFlushed);
      if (excess) {
        cut(from, to, excess);
        return false;
      }
      // Zero when the kernel has taken all of it: only then may the buffer be read into again.
      if (to.socket.writableLength > 0) holds |= Hold.flush;
      const waitMs = bucket.take(granted, nowMs);
      if (waitMs > 0) {
        holds |= Hold.rate;
        timer = setTimeout(wake, waitMs);
      }
      return holds === 0;
    };

    return {
      nextBuffer: () => buffer.next(filledBytes, bucket.readBytes()),
      onBytes,
      onEnd: () => void to.socket.end(),
      onClose: () => endLeg(from),
    };
  };

  const counters: Counters = { id, up: 0, down: 0, lastByteAtMs: now() };
  const stream: Stream = {
    counters,
    startedAtMs: now(),
    setRate(bytesPerSecond) {
      bucket.setRate(bytesPerSecond, now());
      for (const wake of wakers) wake();
    },
    kill(given) {
      reason ??= given;
      for (const { socket } of legs) socket.resetAndDestroy();
    },
  };
  memory.legs += legs.length;
  const up = openFlow(requester, target, (bytes) => {
    counters.up += bytes;
  });
  const down = openFlow(target, requester, (bytes) => {
    counters.down += bytes;
  });
  // Both are taken before anything is relayed: what comes early for one must find the other ready.
  const begun = [
    { leg: requester, flow: up, early: requester.take(up) },
    { leg: target, flow: down, early: target.take(down) },
  ];
  for (const { leg, flow, early } of begun) {
    const mayRead = early.length === 0 || flow.onBytes(early);
    if (mayRead && !leg.socket.destroyed) leg.resume();
  }
  return stream;
};
