/** The streams that are active, and what of them is still to be written: their rows follow, once a second. */
import type { DatabasePool } from 'slonik';
import { isDatabaseFault } from '../db/connect.ts';
import { errorText } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Counters, EndReason } from './relay/messages.ts';
import { type StreamRecord, writeStreams } from './store.ts';

export type Ledger = {
  open(record: StreamRecord): void;
  /** @returns the bytes that came since the last count */
  count(counters: Counters): number;
  end(counters: Counters, reason: EndReason): number;
  find(id: string): Readonly<StreamRecord> | undefined;
  active(): Iterable<Readonly<StreamRecord>>;
  /** Streams whose rows have been written, and that have not ended. */
  written(): string[];
  /** Bytes of a user that may not be written yet. */
  unwrittenBytes(proxy: string, jid: string): number;
  setRate(id: string, bytesPerSecond: number | null): void;
  /** Settles when all that is known so far has been written, or could not be. */
  flush(): Promise<void>;
  close(): Promise<void>;
};

type Entry = { record: StreamRecord; writtenBytes: number | null };

const FLUSH_MS = 1_000;
/** So that streams which open or end together go in one statement. */
const GATHER_MS = 50;
const BATCH = 2_000;
const STUCK_MS = 30_000;

/** slonik wraps some errors of the driver. */
const isFault = (error: unknown): boolean =>
  isDatabaseFault(error) || (error instanceof Error && isDatabaseFault(error.cause));

const bytesOf = ({ bytes_up, bytes_down }: StreamRecord): number => bytes_up + bytes_down;

export const createLedger = (db: DatabasePool, log: Log, stuckMs = STUCK_MS): Ledger => {
  const entries = new Map<string, Entry>();
  let dirty = new Set<string>();
  /** Those that the database refuses: they must not keep the others from being written. */
  const stuck = new Set<string>();
  let timer: NodeJS.Timeout | null = null;
  let nextAtMs = 0;
  let isClosed = false;
  let isFailing = false;
  let writing: Promise<void> = Promise.resolve();

  const write = async (ids: string[]) => {
    const batch = ids.flatMap((id) => entries.get(id) ?? []);
    const records = batch.map(({ record }) => ({ ...record }));
    await writeStreams(db, records);
    for (const [at, entry] of batch.entries()) {
      const record = records[at];
      if (!record) continue;
      entry.writtenBytes = bytesOf(record);
      if (record.ended_at !== null) entries.delete(record.id);
    }
  };

  const setAside = (id: string, err: unknown) => {
    log.error({ err, stream: id }, 'stream not written; it is tried again');
    stuck.add(id);
    setTimeout(() => {
      stuck.delete(id);
      touch(id);
    }, stuckMs).unref();
  };

  /** What is wrong with one, or with the tables, is found by writing each by itself. */
  const writeSafely = async (ids: string[]): Promise<void> => {
    try {
      await write(ids);
    } catch (error) {
      if (!isFault(error)) throw error;
      const [id, ...others] = ids;
      if (others.length > 0) for (const single of ids) await writeSafely([single]);
      else if (id) setAside(id, error);
    }
  };

  const writeDirty = async () => {
    const startedAtMs = performance.now();
    const ids = [...dirty];
    dirty = new Set();
    try {
      for (let at = 0; at < ids.length; at += BATCH) await writeSafely(ids.slice(at, at + BATCH));
      if (isFailing) log.info('streams are written again');
      isFailing = false;
    } catch (error) {
      if (!isFailing)
        log.warn({ reason: errorText(error) }, 'streams not written; kept until they are');
      isFailing = true;
      // Those of a batch that was written are written again, which changes nothing.
      dirty = new Set([...ids, ...dirty]);
    }
    const tookMs = performance.now() - startedAtMs;
    // Ten thousand streams must not keep the database busy for good.
    nextAtMs = performance.now() + Math.max(FLUSH_MS, 4 * tookMs);
    if (dirty.size > 0) arm();
  };

  const flush = (): Promise<void> => {
    if (timer) clearTimeout(timer);
    timer = null;
    writing = writing.then(writeDirty);
    return writing;
  };

  const arm = () => {
    if (isClosed) return;
    timer ??= setTimeout(() => void flush(), Math.max(GATHER_MS, nextAtMs - performance.now()));
  };

  const touch = (id: string) => {
    if (stuck.has(id)) return;
    dirty.add(id);
    arm();
  };

  const count = ({ id, up, down, lastByteAtMs }: Counters): number => {
    const entry = entries.get(id);
    if (!entry) return 0;
    const { record } = entry;
    const more = up + down - bytesOf(record);
    record.bytes_up = up;
    record.bytes_down = down;
    record.last_byte_at = new Date(lastByteAtMs).toISOString();
    touch(id);
    return more;
  };

  return {
    open(record) {
      entries.set(record.id, { record, writtenBytes: null });
      touch(record.id);
    },
    count,
    end(counters, reason) {
      const more = count(counters);
      const entry = entries.get(counters.id);
      if (!entry) return 0;
      entry.record.ended_at = new Date().toISOString();
      entry.record.reason = reason;
      return more;
    },
    find: (id) => entries.get(id)?.record,
    active: () =>
      [...entries.values()].flatMap(({ record }) => (record.ended_at === null ? [record] : [])),
    written: () =>
      [...entries.values()].flatMap(({ record, writtenBytes }) =>
        writtenBytes !== null && record.ended_at === null ? [record.id] : [],
      ),
    unwrittenBytes: (proxy, jid) =>
      [...entries.values()]
        .filter(({ record }) => record.proxy === proxy && record.jid === jid)
        .reduce((sum, { record, writtenBytes }) => sum + bytesOf(record) - (writtenBytes ?? 0), 0),
    setRate(id, bytesPerSecond) {
      const entry = entries.get(id);
      if (entry) entry.record.rate_limit = bytesPerSecond;
    },
    flush,
    async close() {
      isClosed = true;
      await flush();
    },
  };
};
