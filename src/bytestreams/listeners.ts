/** The listeners: a thread for each streamhost, made to be as the rows want them. */
import { isDeepStrictEqual } from 'node:util';
import type { DatabasePool } from 'slonik';
import { createStates } from '../db/states.ts';
import { errorText } from '../errors.ts';
import type { Log } from '../log.ts';
import type { AddressRule, Bounds, Counters, EndReason, FromRelay } from './relay/messages.ts';
import { type RelayThread, startRelayThread } from './relay/thread.ts';
import type { Streamhost } from './stanzas.ts';
import { type StreamhostRow, type StreamhostState, updateStreamhostStates } from './store.ts';

export type ListenerHandlers = {
  onCounters(thread: RelayThread, streams: Counters[]): void;
  onEnded(thread: RelayThread, counters: Counters, reason: EndReason): void;
  /** The thread is gone, and its streams with it. */
  onLost(thread: RelayThread): void;
  /** Whether streams of it go on. */
  isBusy(thread: RelayThread): boolean;
};

export type Listeners = {
  /** @param rows those that are to listen; @param rulesOf who may connect, by proxy */
  match(rows: readonly StreamhostRow[], rulesOf: (proxy: string) => AddressRule[]): void;
  /** No listener takes connections until the next match; streams go on. */
  pause(): void;
  threadsOf(proxy: string): RelayThread[];
  /** One that listens, another each time; null if none does. */
  nextHost(proxy: string): Streamhost | null;
  /** Ends all streams, and tells so. */
  close(): Promise<void>;
};

type Listener = {
  row: StreamhostRow;
  rules: AddressRule[];
  thread: RelayThread;
  state: 'off' | 'opening' | 'listening' | 'failed';
  pending: number;
  retry: NodeJS.Timeout | undefined;
};

const RETRY_MS = 2_000;
const EARLY_BYTES = 65_536;
const EARLY_TOTAL_BYTES = 16 * 1_048_576;

const boundsOf = (row: StreamhostRow): Bounds => ({
  maxPending: row.maxPending,
  maxPendingPerAddress: row.maxPendingPerAddress,
  handshakeMs: row.handshakeTimeoutS * 1_000,
  pendingMs: row.pendingTimeoutS * 1_000,
  idleMs: row.idleTimeoutS * 1_000,
  maxEarlyBytes: EARLY_BYTES,
  maxEarlyTotalBytes: EARLY_TOTAL_BYTES,
});

const isSamePlace = (one: StreamhostRow, other: StreamhostRow): boolean =>
  one.bindAddress === other.bindAddress && one.port === other.port;

export const createListeners = (
  db: DatabasePool,
  log: Log,
  { onCounters, onEnded, onLost, isBusy }: ListenerHandlers,
): Listeners => {
  const listeners = new Map<number, Listener>();
  const closing = new Set<Promise<void>>();
  const turns = new Map<string, number>();
  let wanted = new Map<number, { row: StreamhostRow; rules: AddressRule[] }>();
  let isClosed = false;
  const states = createStates<StreamhostState>(
    ({ id }) => id,
    (batch) => updateStreamhostStates(db, batch),
    log,
  );

  const tell = (listener: Listener, state: StreamhostState['state'], info: string | null) => {
    listener.state = state;
    states.report({ id: listener.row.id, state, info });
  };

  const open = (listener: Listener) => {
    clearTimeout(listener.retry);
    listener.state = 'opening';
    const { bindAddress, port } = listener.row;
    listener.thread.send({ type: 'listen', host: bindAddress, port });
  };

  const shut = (listener: Listener) => {
    clearTimeout(listener.retry);
    listener.thread.send({ type: 'unlisten' });
  };

  const configure = ({ thread, row, rules }: Listener) =>
    thread.send({ type: 'configure', bounds: boundsOf(row), rules });

  /** What waits or is relayed at a listener that is no longer wanted may finish. */
  const closeIdle = (listener: Listener) => {
    if (listener.state !== 'off' || listener.pending > 0 || isBusy(listener.thread)) return;
    listeners.delete(listener.row.id);
    const closed = listener.thread.close();
    closing.add(closed);
    void closed.finally(() => closing.delete(closed));
  };

  const onMessage = (listener: Listener, message: FromRelay) => {
    switch (message.type) {
      case 'listening':
        if (listener.state === 'off') return;
        clearTimeout(listener.retry);
        tell(listener, 'listening', null);
        log.info({ proxy: listener.row.proxy, port: message.port }, 'streamhost listens');
        return;
      case 'failed':
        if (listener.state !== 'opening') return;
        tell(listener, 'failed', message.reason);
        listener.retry = setTimeout(() => open(listener), RETRY_MS);
        return;
      case 'counters':
        listener.pending = message.pending;
        onCounters(listener.thread, message.streams);
        return closeIdle(listener);
      case 'ended':
        return onEnded(listener.thread, message.counters, message.reason);
      default:
        return;
    }
  };

  const start = (row: StreamhostRow, rules: AddressRule[]) => {
    const thread = startRelayThread({
      onMessage: (message) => onMessage(listener, message),
      onLost(error) {
        log.error({ err: error, proxy: row.proxy }, 'the thread of a streamhost has ended');
        listeners.delete(row.id);
        onLost(thread);
        states.report({ id: row.id, state: 'failed', info: errorText(error) });
        setTimeout(() => startWanted(row.id), RETRY_MS);
      },
    });
    const listener: Listener = { row, rules, thread, state: 'off', pending: 0, retry: undefined };
    listeners.set(row.id, listener);
    configure(listener);
    open(listener);
  };

  /** Unless it is there again, or no longer wanted. */
  const startWanted = (id: number) => {
    const want = wanted.get(id);
    if (want && !isClosed && !listeners.has(id)) start(want.row, want.rules);
  };

  const change = (listener: Listener, row: StreamhostRow, rules: AddressRule[]) => {
    const old = { row: listener.row, rules: listener.rules };
    listener.row = row;
    listener.rules = rules;
    if (!isDeepStrictEqual(old, { row, rules })) configure(listener);
    if (listener.state === 'off') return open(listener);
    if (isSamePlace(old.row, row)) return;
    shut(listener);
    open(listener);
  };

  return {
    match(rows, rulesOf) {
      if (isClosed) return;
      wanted = new Map(rows.map((row) => [row.id, { row, rules: rulesOf(row.proxy) }]));
      for (const listener of listeners.values()) {
        if (wanted.has(listener.row.id) || listener.state === 'off') continue;
        shut(listener);
        tell(listener, 'off', null);
      }
      for (const [id, { row, rules }] of wanted) {
        const listener = listeners.get(id);
        if (listener) change(listener, row, rules);
        else start(row, rules);
      }
    },
    pause() {
      states.clear();
      wanted.clear();
      for (const listener of listeners.values()) {
        shut(listener);
        listener.state = 'off';
      }
    },
    threadsOf: (proxy) =>
      [...listeners.values()].flatMap(({ row, thread }) => (row.proxy === proxy ? [thread] : [])),
    nextHost(proxy) {
      const open = [...listeners.values()].filter(
        ({ row, state }) => row.proxy === proxy && state === 'listening',
      );
      const turn = turns.get(proxy) ?? 0;
      turns.set(proxy, turn + 1);
      const row = open[turn % Math.max(1, open.length)]?.row;
      if (!row) return null;
      // IPv6 stands without brackets here (RFC 5952).
      const host = (row.publicHost ?? row.bindAddress ?? proxy).replace(/^\[(.*)\]$/, '$1');
      return { jid: proxy, host, port: row.publicPort ?? row.port };
    },
    async close() {
      isClosed = true;
      for (const listener of listeners.values()) {
        clearTimeout(listener.retry);
        tell(listener, 'off', null);
      }
      await Promise.all([...listeners.values()].map(({ thread }) => thread.close()));
      await Promise.all(closing);
      await states.flushed();
    },
  };
};
