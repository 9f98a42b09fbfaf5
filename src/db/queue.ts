/**
 * A queue table as its gateway sees it: open a link, take its rows in order, settle them. New rows are
 * found by snapshot window, woken by the doorbell; a backlog is read by pages, never more than fits.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { errorText } from '../errors.ts';
import type { Log } from '../log.ts';
import { connect, type DatabaseAddress } from './connect.ts';
import { createDoorbell, type Doorbell } from './doorbell.ts';
import { createLinkBuffer, type LinkBuffer, type QueueRow } from './linkBuffer.ts';
import { type Ownership, shardOf } from './ownership.ts';
import { buildQueueSql, PAGE_ROWS, type QueueTable } from './queueSql.ts';

export type Result = {
  state: 'submitted' | 'failed' | 'expired';
  /** Why, for people; null when there is nothing to say. */
  info: string | null;
  /** The id it had on the wire; null when it never got there. */
  stanzaId: string | null;
};

/** What becomes of rows whose link is not open. */
export type Unlinked = { verdict: 'wait' | 'reject'; info: string };

export type Link<Row extends QueueRow> = {
  /** Rows to send now, first ones first; each must be settled, put off or given back. */
  take(count: number): Row[];
  settle(row: Row, result: Result): void;
  /**
   * Taken rows are about to go out: the table says so before they do, so that a crash leaves word.
   *
   * @returns those that may go; the others were cancelled, or are another's, and are no longer taken
   */
  mark(rows: Row[]): Promise<Row[]>;
  /** Results not yet written: after a crash their rows are still queued. `onRows` follows each write. */
  unsettled(): number;
  /** The row is tried again after `afterMs`; later rows with its order key wait behind it. */
  putOff(row: Row, afterMs: number, info: string): void;
  /** Taken rows whose fate is unknown: they are first in line again. */
  giveBack(rows: Row[]): void;
  /** A taken row that was settled by other means. */
  forget(row: Row): void;
  /** Rows that were put off need not wait any longer. */
  hasten(isMatch: (row: Row) => boolean): void;
  /** Settled results are still written; rows not taken stay in the table. */
  close(): void;
};

export type Queue<Row extends QueueRow> = {
  /** @param onRows called whenever `take` may have something new */
  openLink(linkId: number, onRows: () => void): Link<Row>;
  /** Which open link sends the rows that name none; null for no one. */
  setDefault(linkId: number | null): void;
  /** Rows may have been cancelled. */
  recheckHeld(): void;
  /** A notification on the queue's channel; the payload is a shard. */
  ring(payload: string): void;
  /**
   * Notifications may have been missed, or the shards have changed, or what `describeUnlinked` answers:
   * everything is read anew.
   */
  resync(): void;
  /** Settles when every result so far has been written, or `timeoutMs` have passed. */
  flushed(timeoutMs: number): Promise<void>;
  close(): Promise<void>;
};

export type QueueParts<Row extends QueueRow> = {
  address: DatabaseAddress;
  table: QueueTable;
  ownership: Pick<Ownership, 'epochs'>;
  log: Log;
  /** Rows with the same key never overtake each other. */
  orderKey(row: Row): string;
  describeUnlinked(linkId: number | null): Unlinked;
};

/** How the reader spends its time, in milliseconds. */
const LINGER_MS = 30;
const POLL_MS = 4;
const ARMING_MS = 20;
const FLUSH_MS = 10;
const SAFETY_MS = 30_000;
const RETRY_MS = 250;
const FLUSH_ROWS = 500;

type OpenLink<Row extends QueueRow> = {
  id: number;
  buffer: LinkBuffer<Row>;
  /** Whether it has asked for rows that are still in the table. */
  isHungry: boolean;
  /** Rows whose next try came before this have been told, in milliseconds. */
  toldAt: number;
  unsettled: number;
  onRows: () => void;
};
type Pending<Row> = Result & { row: Row; linkId: number };
type Mark<Row extends QueueRow> = {
  rows: Row[];
  buffer: LinkBuffer<Row>;
  resolve(rows: Row[]): void;
};
type RawRow = QueueRow & {
  sendInMs: number | null;
  expiresInMs: number | null;
  nextTryInMs: number | null;
  snapshot?: string;
};

const toTime = (inMs: number | null, now: number): number | null =>
  inMs === null ? null : now + inMs;

export const createQueue = <Row extends QueueRow>(parts: QueueParts<Row>): Queue<Row> => {
  const { address, table, ownership, log, orderKey, describeUnlinked } = parts;
  const sql = buildQueueSql(table);
  const links = new Map<number, OpenLink<Row>>();
  /** Links that are not open and whose rows have yet to be told so. */
  const unlinked = new Set<number | null>();
  let defaultId: number | null = null;
  let pending: Pending<Row>[] = [];
  const putOffs: { link: OpenLink<Row>; row: Row; afterMs: number; info: string }[] = [];
  let marks: Mark<Row>[] = [];
  let isClosed = false;

  // What has been asked of the loop since it last looked.
  let isRung = false;
  let mustResync = true;
  let mustRecheck = false;
  let wakeUp = Promise.withResolvers<void>();
  let flushTimer: NodeJS.Timeout | null = null;
  let idle = Promise.withResolvers<void>();

  // Where reading has got to.
  let snapshot = '';
  let lastDue = '-infinity';
  let dueAt = Number.POSITIVE_INFINITY;
  let expireAt = Number.POSITIVE_INFINITY;
  let resyncAt = 0;

  const wake = () => wakeUp.resolve();
  const epochs = () => ownership.epochs(table.gateway);
  const ownShards = () => [...epochs().keys()];

  const readRow = (raw: RawRow, now: number): Row => {
    // Changed in place: a copy of each row would be half of what reading it costs.
    raw.expiresAt = toTime(raw.expiresInMs, now);
    raw.nextTryAt = toTime(raw.nextTryInMs, now);
    // The select list of the table is what makes it a Row; the queue knows only its own part.
    return raw as unknown as Row;
  };

  const linkOf = (row: QueueRow): OpenLink<Row> | undefined =>
    links.get(row.linkId ?? defaultId ?? Number.NaN);

  /** @returns the link that has something new to take */
  const offer = (row: Row): OpenLink<Row> | null => {
    const link = linkOf(row);
    if (!link) {
      unlinked.add(row.linkId);
      return null;
    }
    if (row.expiresAt !== null) expireAt = Math.min(expireAt, row.expiresAt);
    return link.buffer.offer(row) || link.isHungry ? link : null;
  };

  const offerAll = (rows: RawRow[]): void => {
    const now = Date.now();
    const touched = new Set<OpenLink<Row>>();
    for (const raw of rows) {
      if (raw.sendInMs !== null && raw.sendInMs > 0) {
        dueAt = Math.min(dueAt, now + raw.sendInMs);
        continue;
      }
      const link = offer(readRow(raw, now));
      if (link) touched.add(link);
    }
    for (const link of touched) link.onRows();
  };

  const fetchWindow = async (client: pg.Client): Promise<boolean> => {
    isRung = false;
    const { rows } = await client.query<RawRow>({ ...sql.window, values: [snapshot, ownShards()] });
    const fresh = rows.filter(({ id }) => id !== null);
    // More than a page at once is a backlog, and is read as one.
    if (fresh.length === PAGE_ROWS) mustResync = true;
    else snapshot = rows[0]?.snapshot ?? snapshot;
    offerAll(fresh);
    return fresh.length > 0;
  };

  const loadPage = async (client: pg.Client, link: OpenLink<Row>): Promise<void> => {
    link.isHungry = false;
    const after = link.buffer.nextPage();
    if (after === null) return;
    const query = link.id === defaultId ? sql.defaultPage : sql.page;
    const values = [link.id, Number.isFinite(after.priority) ? after.priority : -32_768, after.id];
    const { rows } = await client.query<RawRow>({ ...query, values });
    if (!links.has(link.id)) return;
    const now = Date.now();
    link.buffer.addPage(
      rows.map((raw) => readRow(raw, now)),
      rows.length < PAGE_ROWS,
    );
    link.onRows();
  };

  /** Reads anew which links have rows; each reads its own when it asks for some. */
  const resync = async (client: pg.Client): Promise<void> => {
    mustResync = false;
    resyncAt = Date.now() + SAFETY_MS;
    const first = await client.query<{ snapshot: string }>(sql.snapshot);
    snapshot = first.rows[0]?.snapshot ?? '';
    await readTimes(client);
    const { rows } = await client.query<{ id: number | null }>(sql.links);
    const owned = epochs();
    const busy = new Set<OpenLink<Row>>();
    for (const { id } of rows) {
      if (!owned.has(shardOf(id))) continue;
      const link = links.get(id ?? defaultId ?? Number.NaN);
      if (link) busy.add(link);
      else unlinked.add(id);
    }
    for (const link of links.values()) {
      link.buffer.reset();
      if (!busy.has(link)) link.buffer.addPage([], true);
    }
    for (const link of busy) link.onRows();
  };

  const readTimes = async (client: pg.Client): Promise<void> => {
    const { rows } = await client.query<{
      now: string;
      dueInMs: number | null;
      expiresInMs: number | null;
    }>(sql.times);
    const times = rows[0];
    if (!times) return;
    const now = Date.now();
    lastDue = times.now;
    dueAt = toTime(times.dueInMs, now) ?? Number.POSITIVE_INFINITY;
    expireAt = toTime(times.expiresInMs, now) ?? Number.POSITIVE_INFINITY;
  };

  const fetchDue = async (client: pg.Client): Promise<void> => {
    const since = lastDue;
    await readTimes(client);
    const { rows } = await client.query<RawRow>({ ...sql.due, values: [since, ownShards()] });
    offerAll(rows.map((row) => ({ ...row, sendInMs: null })));
  };

  /** What waited behind the rows that are gone may go now. */
  const drop = (link: OpenLink<Row>, isGone: (id: number) => boolean): void => {
    if (link.buffer.drop(isGone)) link.onRows();
  };

  const expire = async (client: pg.Client): Promise<void> => {
    const taken = [...links.values()].flatMap(({ buffer }) => buffer.takenIds());
    const { rows } = await client.query<{ id: number }>({
      ...sql.expire,
      values: [ownShards(), taken],
    });
    const gone = new Set(rows.map(({ id }) => id));
    for (const link of links.values()) drop(link, (id) => gone.has(id));
    await readTimes(client);
    // What is taken or another daemon's is settled by whoever has it.
    if (gone.size < PAGE_ROWS) expireAt = Math.max(expireAt, Date.now() + 1_000);
  };

  const recheckHeld = async (client: pg.Client): Promise<void> => {
    mustRecheck = false;
    for (const link of links.values()) {
      const ids = link.buffer.ids();
      if (ids.length === 0) continue;
      const { rows } = await client.query<{ id: number }>({ ...sql.remaining, values: [ids] });
      const remaining = new Set(rows.map(({ id }) => id));
      drop(link, (id) => !remaining.has(id));
    }
  };

  /** Writes results under the epochs held now; those of shards that are gone are another's business. */
  const flush = async (client: pg.Client): Promise<void> => {
    const owned = epochs();
    // A closed link's results of a shard that is gone are dropped: no epoch is -1.
    const batch = pending
      .filter(({ row, linkId }) => owned.has(shardOf(row.linkId)) || !links.has(linkId))
      .slice(0, FLUSH_ROWS);
    const shards = [...new Set(batch.map(({ row }) => shardOf(row.linkId)))];
    const written = await client.query<{ settled: number[] }>({
      ...sql.settle,
      values: [
        batch.map(({ row }) => row.id),
        batch.map(({ state }) => state),
        batch.map(({ info }) => info),
        batch.map(({ stanzaId }) => stanzaId),
        batch.map(({ linkId }) => linkId),
        batch.map(({ row }) => shardOf(row.linkId)),
        shards,
        shards.map((shard) => owned.get(shard) ?? -1),
      ],
    });
    const done = new Set(batch);
    pending = pending.filter((result) => !done.has(result));
    const freed = new Set<OpenLink<Row>>();
    for (const { row, linkId } of batch) {
      const link = links.get(linkId);
      if (!link) continue;
      link.buffer.release(row.id);
      link.unsettled -= 1;
      freed.add(link);
    }
    for (const link of freed) link.onRows();
    const settled = new Set(written.rows[0]?.settled.map(Number));
    const others = batch.filter(({ row, state }) => state === 'submitted' && !settled.has(row.id));
    if (others.length > 0) {
      const values = [others.map(({ row }) => row.id), others.map(({ stanzaId }) => stanzaId)];
      await client.query({ ...sql.overrule, values });
    }
  };

  const writeMarks = async (client: pg.Client): Promise<void> => {
    const owned = epochs();
    const batch = [...marks];
    const rows = batch.flatMap((mark) => mark.rows);
    const shards = [...new Set(rows.map(({ linkId }) => shardOf(linkId)))];
    const written = await client.query<{ id: number }>({
      ...sql.mark,
      values: [
        rows.map(({ id }) => id),
        rows.map(({ linkId }) => shardOf(linkId)),
        shards,
        shards.map((shard) => owned.get(shard) ?? -1),
      ],
    });
    marks = marks.filter((mark) => !batch.includes(mark));
    const marked = new Set(written.rows.map(({ id }) => id));
    for (const { rows: asked, buffer, resolve } of batch) {
      for (const { id } of asked) if (!marked.has(id)) buffer.release(id);
      resolve(asked.filter(({ id }) => marked.has(id)));
    }
  };

  const writePutOffs = async (client: pg.Client): Promise<void> => {
    for (const { link, row, afterMs, info } of putOffs.splice(0)) {
      const shard = shardOf(row.linkId);
      const values = [row.id, afterMs, info, shard, epochs().get(shard) ?? -1];
      const { rowCount } = await client.query({ ...sql.putOff, values });
      // It was cancelled while it was taken, or is another's by now.
      if (rowCount === 0) drop(link, (id) => id === row.id);
    }
  };

  const tellUnlinked = async (client: pg.Client): Promise<void> => {
    for (const linkId of unlinked) {
      if (links.has(linkId ?? defaultId ?? Number.NaN)) {
        unlinked.delete(linkId);
        continue;
      }
      const { verdict, info } = describeUnlinked(linkId);
      const query =
        verdict === 'reject'
          ? { ...sql.reject, values: [linkId, info] }
          : linkId === null
            ? { ...sql.annotateDefault, values: [info] }
            : { ...sql.annotate, values: [info, linkId] };
      const { rows } = await client.query(query);
      if (rows.length < PAGE_ROWS) unlinked.delete(linkId);
    }
  };

  /** Does what is to be done now. @returns whether new rows came, so that more are likely */
  const step = async (client: pg.Client, isAwake: boolean): Promise<boolean> => {
    wakeUp = Promise.withResolvers<void>();
    const now = Date.now();
    let hasWorked = false;
    // Before rows are read anew: the table must know of them.
    if (putOffs.length > 0) await writePutOffs(client);
    if (mustResync || now >= resyncAt) await resync(client);
    if (mustRecheck) await recheckHeld(client);
    const jobs: Promise<unknown>[] = [];
    // Pages first: their rows are read and sent while the server is at work on the results.
    for (const link of links.values()) if (link.isHungry) jobs.push(loadPage(client, link));
    // Without a shard the results wait: it may come back to us before anyone else takes it.
    if (pending.length > 0 && epochs().size > 0) jobs.push(flush(client));
    if (marks.length > 0) jobs.push(writeMarks(client));
    if (isAwake || isRung) {
      jobs.push(fetchWindow(client));
    }
    // The connection works them off in order, the next one's wait overlapping the last one's reading.
    const found = await Promise.all(jobs);
    if (found.includes(true)) hasWorked = true;
    if (now >= dueAt) await fetchDue(client);
    if (now >= expireAt) await expire(client);
    if (unlinked.size > 0) {
      await tellUnlinked(client);
      hasWorked = true;
    }
    if (pending.length === 0) {
      idle.resolve();
      idle = Promise.withResolvers<void>();
    }
    return hasWorked;
  };

  const nextTimer = (): number => {
    const tries = [...links.values()].map(
      ({ buffer, toldAt }) => buffer.nextTryAt(toldAt) ?? Infinity,
    );
    return Math.min(dueAt, expireAt, resyncAt, ...tries);
  };

  const rest = async (ms: number, until: Promise<unknown> = wakeUp.promise): Promise<void> => {
    const timeUp = Promise.withResolvers<void>();
    const timer = setTimeout(timeUp.resolve, Math.max(1, Math.min(ms, SAFETY_MS)));
    await Promise.race([until, wakeUp.promise, timeUp.promise]);
    clearTimeout(timer);
  };

  const wakeWaiting = (): void => {
    const now = Date.now();
    for (const link of links.values()) {
      const at = link.buffer.nextTryAt(link.toldAt);
      if (at === null || at > now) continue;
      // Told once; a link that cannot take it now asks when it can.
      link.toldAt = now;
      link.onRows();
    }
  };

  /** Armed, the reader does all but look for rows; a ring ends it. */
  const sleep = async (
    client: pg.Client,
    bell: Doorbell,
    bellLost: Promise<never>,
  ): Promise<void> => {
    const shards = ownShards();
    const arming = bell.arm(shards);
    arming.catch(() => {});
    while (!bell.isArmed()) {
      // The locks are taken one by one: behind the one that is waited for, producers do not ring yet.
      await rest(ARMING_MS, arming);
      await step(client, true);
      if (isClosed) return;
    }
    // Rows of producers that saw the reader awake are visible by now.
    const hasFound = await fetchWindow(client);
    // Shards that came meanwhile are not armed.
    let mustWake = hasFound || shards.join() !== ownShards().join();
    while (!mustWake && !isClosed) {
      await rest(nextTimer() - Date.now(), bellLost);
      mustWake = isRung || mustResync;
      if (mustWake) break;
      await step(client, false);
      wakeWaiting();
    }
    await Promise.all([bell.disarm(), step(client, true)]);
  };

  const live = async (client: pg.Client, bellClient: pg.Client): Promise<void> => {
    await client.query(sql.prepare);
    const bell = createDoorbell(bellClient, table.name);
    // Its locks are gone with it: nobody would ring.
    const bellLost = Promise.withResolvers<never>();
    bellLost.promise.catch(() => {});
    bellClient.once('end', () => bellLost.reject(new Error('the doorbell connection was ended')));
    mustResync = true;
    let quietSince = Date.now();
    while (!isClosed) {
      wakeWaiting();
      if (await step(client, true)) quietSince = Date.now();
      if (hasHungry() || mustResync || (pending.length >= FLUSH_ROWS && epochs().size > 0))
        continue;
      if (Date.now() - quietSince < LINGER_MS) await rest(POLL_MS);
      else {
        await sleep(client, bell, bellLost.promise);
        quietSince = Date.now();
      }
    }
  };

  const hasHungry = (): boolean => {
    for (const link of links.values()) if (link.isHungry) return true;
    return false;
  };

  const run = async (): Promise<void> => {
    while (!isClosed) {
      const clients: pg.Client[] = [];
      try {
        const options = { queryTimeoutMs: 20_000, pipeline: true } as const;
        clients.push(await connect(address, `queue ${table.name}`, options));
        clients.push(await connect(address, `doorbell ${table.name}`));
        const [client, bellClient] = clients;
        if (client && bellClient) await live(client, bellClient);
      } catch (err) {
        log.debug({ err, table: table.name }, 'queue interrupted');
        await delay(RETRY_MS);
      } finally {
        await Promise.allSettled(clients.map((client) => client.end()));
      }
    }
  };
  const running = run().catch((err: unknown) =>
    log.error({ err: errorText(err) }, 'queue stopped'),
  );

  const settle = (linkId: number, row: Row, result: Result): void => {
    pending.push({ ...result, row, linkId });
    const link = links.get(linkId);
    if (link) link.unsettled += 1;
    if (pending.length >= FLUSH_ROWS) wake();
    else
      flushTimer ??= setTimeout(() => {
        flushTimer = null;
        wake();
      }, FLUSH_MS);
  };

  const takeFrom = (link: OpenLink<Row>, count: number): Row[] => {
    if (!epochs().has(shardOf(link.id))) return [];
    const now = Date.now();
    const rows = link.buffer.take(count, now);
    if (link.buffer.isLow() && link.buffer.nextPage() !== null) {
      link.isHungry = true;
      wake();
    }
    return rows.filter((row) => {
      // One that may have gone out did not expire before.
      if (row.expiresAt === null || row.expiresAt > now || row.isSubmitting) return true;
      const info = 'expired before it was sent';
      settle(link.id, row, { state: 'expired', info, stanzaId: null });
      return false;
    });
  };

  const openLink = (linkId: number, onRows: () => void): Link<Row> => {
    const buffer = createLinkBuffer<Row>(orderKey);
    const link: OpenLink<Row> = {
      id: linkId,
      buffer,
      isHungry: false,
      toldAt: 0,
      unsettled: 0,
      onRows,
    };
    // Results of its last life are not written yet: until they are, the table still calls them queued.
    for (const { row } of pending.filter((result) => result.linkId === linkId)) {
      buffer.hold(row.id);
      link.unsettled += 1;
    }
    links.set(linkId, link);
    return {
      take: (count) => takeFrom(link, count),
      settle: (row, result) => settle(linkId, row, result),
      mark(rows) {
        if (isClosed) return Promise.resolve([]);
        const { promise, resolve } = Promise.withResolvers<Row[]>();
        marks.push({ rows, buffer, resolve });
        wake();
        return promise;
      },
      unsettled: () => link.unsettled,
      putOff(row, afterMs, info) {
        putOffs.push({ link, row, afterMs, info });
        const nextTryAt = Date.now() + afterMs;
        buffer.giveBack([{ ...row, attempts: row.attempts + 1, nextTryAt }]);
        wake();
      },
      giveBack: (rows) => buffer.giveBack(rows),
      forget: (row) => buffer.release(row.id),
      hasten(isMatch) {
        if (buffer.hasten(isMatch)) onRows();
      },
      close() {
        if (links.get(linkId) === link) links.delete(linkId);
      },
    };
  };

  return {
    openLink,
    setDefault(linkId) {
      if (defaultId === linkId) return;
      defaultId = linkId;
      mustResync = true;
      wake();
    },
    recheckHeld() {
      mustRecheck = true;
      wake();
    },
    ring(payload) {
      if (!epochs().has(Number(payload))) return;
      isRung = true;
      wake();
    },
    resync() {
      mustResync = true;
      wake();
    },
    async flushed(timeoutMs) {
      if (pending.length === 0) return;
      wake();
      await Promise.race([idle.promise, delay(timeoutMs)]);
    },
    async close() {
      isClosed = true;
      if (flushTimer) clearTimeout(flushTimer);
      wake();
      await running;
      for (const { resolve } of marks.splice(0)) resolve([]);
    },
  };
};
