/**
 * The relay of one listener: takes connections, lets two that ask for the same hash wait for their
 * activation, and relays between them. It never connects to anyone.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { Reply } from '../wire/socks5.ts';
import { compileAddressRules } from './addressRules.ts';
import { createAdmission, plainAddress } from './admission.ts';
import type { BufferBudget } from './buffers.ts';
import { createLeg, type Leg, type LegShared } from './leg.ts';
import type {
  Activation,
  AddressRule,
  Bounds,
  Counters,
  EndReason,
  StreamLimits,
  Verdict,
} from './messages.ts';
import type { OpenReading } from './reading.ts';
import { type Budget, type Stream, startStream } from './stream.ts';

export type RelayParts = {
  open: OpenReading;
  /** Milliseconds of the wall clock. */
  now(): number;
  onEnded(counters: Counters, reason: EndReason): void;
};

export type Relay = {
  configure(bounds: Bounds, rules: AddressRule[]): void;
  /** @returns the port; rejects when it cannot be had */
  listen(host: string | null, port: number): Promise<number>;
  /** Takes no more connections; those that are there stay. */
  unlisten(): void;
  activate(activation: Activation): Verdict;
  kill(id: string, reason: EndReason): void;
  setRate(id: string, bytesPerSecond: number | null): void;
  setBudget(key: string, bytes: number | null): void;
  spend(key: string, bytes: number): void;
  /** Ends what has waited or been silent for too long; to be called a few times a second. */
  tick(): void;
  /** Of the streams that have relayed something since the last call. */
  takeCounters(): Counters[];
  pending(): number;
  close(): void;
};

type Place = { legs: Leg[]; stream: string | null; hasLost: boolean };
type Live = { stream: Stream; limits: StreamLimits; reportedBytes: number };

/** SYNs that come while the thread is busy must not be dropped: each costs its client a second. */
const BACKLOG = 1_024;
/** For the last words of a connection that was refused. */
const REFUSED_MS = 2_000;
const SHARED_BYTES = 65_536;

const CLOSED: Bounds = {
  maxPending: 0,
  maxPendingPerAddress: 0,
  handshakeMs: 0,
  pendingMs: 0,
  maxEarlyBytes: 0,
  maxEarlyTotalBytes: 0,
  idleMs: 0,
};

export const createRelay = ({ open, now, onEnded }: RelayParts): Relay => {
  let bounds = CLOSED;
  let isAllowed = compileAddressRules([]);
  let server: Server | null = null;
  const admission = createAdmission();
  const waiting = new Set<Leg>();
  const places = new Map<string, Place>();
  const placeOf = new Map<Leg, string>();
  const live = new Map<string, Live>();
  const budgets = new Map<string, Budget>();
  const memory: BufferBudget = { legs: 0 };
  const shared: LegShared = {
    buffer: Buffer.allocUnsafeSlow(SHARED_BYTES),
    earlyBytes: 0,
    bounds: () => bounds,
    now,
  };

  const leaveWaiting = (leg: Leg) => {
    if (waiting.delete(leg)) admission.leave(leg.address);
  };

  const leavePlace = (leg: Leg) => {
    const hash = placeOf.get(leg);
    const place = hash && places.get(hash);
    placeOf.delete(leg);
    if (!hash || !place) return;
    place.legs = place.legs.filter((other) => other !== leg);
    place.hasLost = true;
    if (place.legs.length === 0) places.delete(hash);
  };

  const onAsked = (leg: Leg, hash: string): Reply => {
    const place = places.get(hash) ?? { legs: [], stream: null, hasLost: false };
    // When one of two drops, both may come again, and the other is then seen to be dead by that.
    const [oldest] = place.legs;
    if (oldest && place.legs.length === 2 && place.hasLost && place.stream === null) {
      leavePlace(oldest);
      oldest.socket.destroy();
      place.hasLost = false;
    }
    if (place.stream !== null || place.legs.length >= 2) return Reply.notAllowed;
    place.legs.push(leg);
    places.set(hash, place);
    placeOf.set(leg, hash);
    return Reply.succeeded;
  };

  const onConnection = (accepted: Socket) => {
    const address = plainAddress(accepted.remoteAddress ?? '');
    if (!isAllowed(address) || !admission.enter(address, bounds)) {
      accepted.on('error', () => {});
      accepted.resetAndDestroy();
      return;
    }
    waiting.add(
      createLeg(accepted, open, shared, {
        onAsked,
        onClose(leg) {
          leaveWaiting(leg);
          leavePlace(leg);
        },
      }),
    );
  };

  const findPlace = (hashes: string[]): { hash: string; place: Place } | null => {
    const found = hashes.flatMap((hash) => {
      const place = places.get(hash);
      return place ? [{ hash, place }] : [];
    });
    return found.find(({ place }) => place.legs.length === 2) ?? found[0] ?? null;
  };

  const start = (
    hash: string,
    place: Place,
    requester: Leg,
    target: Leg,
    { id, limits }: Activation,
  ) => {
    place.stream = id;
    for (const leg of [requester, target]) {
      leaveWaiting(leg);
      placeOf.delete(leg);
    }
    const shares = limits.budgets.flatMap((key) => budgets.get(key) ?? []);
    const onEnd = (stream: Stream, reason: EndReason) => {
      live.delete(id);
      places.delete(hash);
      onEnded(stream.counters, reason);
    };
    const parts = { id, requester, target, limits, budgets: shares, memory, now, onEnd };
    const stream = startStream(parts);
    live.set(id, { stream, limits, reportedBytes: 0 });
  };

  const sweepWaiting = (nowMs: number) => {
    const limitMs = {
      handshake: bounds.handshakeMs,
      pending: bounds.pendingMs,
      refused: REFUSED_MS,
      taken: Number.POSITIVE_INFINITY,
    };
    for (const leg of waiting) {
      if (nowMs - leg.sinceMs > limitMs[leg.state]) leg.socket.destroy();
    }
  };

  const sweepStreams = (nowMs: number) => {
    for (const { stream, limits } of live.values()) {
      if (limits.maxMs !== null && nowMs - stream.startedAtMs > limits.maxMs)
        stream.kill('max_time');
      else if (nowMs - stream.counters.lastByteAtMs > bounds.idleMs) stream.kill('idle');
    }
  };

  return {
    configure(given, rules) {
      bounds = given;
      isAllowed = compileAddressRules(rules);
    },
    listen: (host, port) =>
      new Promise((done, fail) => {
        server?.close();
        const opened = createServer({ allowHalfOpen: true, pauseOnConnect: true }, onConnection);
        opened.once('error', fail);
        opened.listen({ ...(host && { host }), port, backlog: BACKLOG }, () => {
          server = opened;
          done((opened.address() as AddressInfo).port); // of a TCP server
        });
      }),
    unlisten() {
      server?.close();
      server = null;
    },
    activate(activation) {
      const found = findPlace(activation.hashes);
      if (!found) return { type: 'unknown' };
      const { hash, place } = found;
      if (place.stream !== null) return { type: 'active' };
      // The target connects before the requester does (XEP-0065 §6.2): nothing else tells who is who.
      const [target, requester] = place.legs;
      if (!target || !requester) return { type: 'one leg' };
      if (![target, requester].every(({ address }) => isAllowed(address)))
        return { type: 'denied' };
      start(hash, place, requester, target, activation);
      return { type: 'activated', hash, requester: requester.address, target: target.address };
    },
    kill: (id, reason) => live.get(id)?.stream.kill(reason),
    setRate: (id, bytesPerSecond) => live.get(id)?.stream.setRate(bytesPerSecond),
    setBudget(key, bytes) {
      const budget = budgets.get(key);
      if (bytes === null) budgets.delete(key);
      else if (budget) budget.bytes = bytes;
      else budgets.set(key, { bytes });
    },
    spend(key, bytes) {
      const budget = budgets.get(key);
      if (budget) budget.bytes -= bytes;
    },
    tick() {
      const nowMs = now();
      sweepWaiting(nowMs);
      sweepStreams(nowMs);
    },
    takeCounters: () =>
      [...live.values()].flatMap((entry) => {
        const { counters } = entry.stream;
        if (counters.up + counters.down === entry.reportedBytes) return [];
        entry.reportedBytes = counters.up + counters.down;
        return [{ ...counters }];
      }),
    pending: () => admission.count(),
    close() {
      server?.close();
      for (const { stream } of live.values()) stream.kill('shutdown');
      for (const leg of waiting) leg.socket.destroy();
    },
  };
};
