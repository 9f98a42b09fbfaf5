/**
 * A queue table as its gateway sees it: open a link, take its rows in order, settle them. New rows are
 * found by snapshot window, woken by the doorbell; a backlog is read by pages, never more than fits.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { errorText } from '../errors.ts';
import type { Log } from '../log.ts';
import { connect, type DatabaseAddress, isDatabaseFault } from './connect.ts';
import { createDoorbell, type Doorbell } from './doorbell.ts';
import { createLinkBuffer, type QueueRow } from './linkBuffer.ts';
import { type Ownership, shardOf } from './ownership.ts';
import { findLink, type OpenLink, type QueueLinks } from './queueLinks.ts';
import { createQueueReader } from './queueReader.ts';
import { buildQueueSql, PAGE_ROWS, type QueueTable } from './queueSql.ts';
import { createQueueWriter, FLUSH_ROWS, type Result } from './queueWriter.ts';

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
const RETRY_MS = 250;
const FAULT_MS = 5_000;

export const createQueue = <Row extends QueueRow>(parts: QueueParts<Row>): Queue<Row> => {
  const { address, table, ownership, log, orderKey, describeUnlinked } = parts;
  const sql = buildQueueSql(table);
  const links: QueueLinks<Row> = { open: new Map(), defaultId: null, unlinked: new Set() };
  const epochs = () => ownership.epochs(table.gateway);
  const reader = createQueueReader({ sql, links, epochs });
  const writer = createQueueWriter({ sql, links, epochs });
  let isClosed = false;

  // What has been asked of the loop since it last looked.
  let isRung = false;
  let mustResync = true;
  let mustRecheck = false;
  let wakeUp = Promise.withResolvers<void>();
  let flushTimer: NodeJS.Timeout | null = null;
  let idle = Promise.withResolvers<void>();

  const wake = () => wakeUp.resolve();

  /** @returns whether there were new rows */
  const fetchWindow = async (client: pg.Client): Promise<boolean> => {
    isRung = false;
    const found = await reader.fetchWindow(client);
    if (found === 'backlog') mustResync = true;
    return found !== 'nothing';
  };

  const tellUnlinked = async (client: pg.Client): Promise<void> => {
    const { unlinked } = links;
    for (const linkId of unlinked) {
      if (findLink(links, linkId)) {
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
    // Before rows are read anew: the table must know of them.
    await writer.writePutOffs(client);
    if (mustResync || reader.mustResync(now)) {
      mustResync = false;
      await reader.resync(client);
    }
    if (mustRecheck) {
      mustRecheck = false;
      await reader.recheckHeld(client);
    }
    // The connection works them off in order, the next one's wait overlapping the last one's reading.
    // Pages first: their rows are read and sent while the server is at work on the results.
    const jobs = [...reader.loadPages(client), ...writer.write(client)];
    const window = isAwake || isRung ? fetchWindow(client) : false;
    const [hasFound] = await Promise.all([window, ...jobs]);
    await reader.catchUp(client, now);
    const hasUnlinked = links.unlinked.size > 0;
    if (hasUnlinked) await tellUnlinked(client);
    if (writer.pendingCount() === 0) {
      idle.resolve();
      idle = Promise.withResolvers<void>();
    }
    return hasFound || hasUnlinked;
  };

  const nextTimer = (): number => {
    const tries = [...links.open.values()].map(
      ({ buffer, toldAt }) => buffer.nextTryAt(toldAt) ?? Infinity,
    );
    return Math.min(reader.nextAt(), ...tries);
  };

  const rest = async (ms: number, until: Promise<unknown> = wakeUp.promise): Promise<void> => {
    const timeUp = Promise.withResolvers<void>();
    const timer = setTimeout(timeUp.resolve, Math.max(1, ms));
    await Promise.race([until, wakeUp.promise, timeUp.promise]);
    clearTimeout(timer);
  };

  const wakeWaiting = (): void => {
    const now = Date.now();
    for (const link of links.open.values()) {
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
    const shards = [...epochs().keys()];
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
    let mustWake = hasFound || shards.join() !== [...epochs().keys()].join();
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
      if (hasHungry() || mustResync || (writer.pendingCount() >= FLUSH_ROWS && epochs().size > 0))
        continue;
      if (Date.now() - quietSince < LINGER_MS) await rest(POLL_MS);
      else {
        await sleep(client, bell, bellLost.promise);
        quietSince = Date.now();
      }
    }
  };

  const hasHungry = (): boolean => {
    for (const link of links.open.values()) if (link.isHungry) return true;
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
        const isFault = isDatabaseFault(err);
        log[isFault ? 'error' : 'debug']({ err, table: table.name }, 'queue interrupted');
        const until = Date.now() + (isFault ? FAULT_MS : 0);
        do await delay(RETRY_MS);
        while (!isClosed && Date.now() < until);
      } finally {
        await Promise.allSettled(clients.map((client) => client.end()));
      }
    }
  };
  const running = run().catch((err: unknown) =>
    log.error({ err: errorText(err) }, 'queue stopped'),
  );

  const settle = (linkId: number, row: Row, result: Result): void => {
    writer.settle(linkId, row, result);
    if (writer.pendingCount() >= FLUSH_ROWS) wake();
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
    for (const rowId of writer.pendingIds(linkId)) {
      buffer.hold(rowId);
      link.unsettled += 1;
    }
    links.open.set(linkId, link);
    return {
      take: (count) => takeFrom(link, count),
      settle: (row, result) => settle(linkId, row, result),
      mark(rows) {
        if (isClosed) return Promise.resolve([]);
        const marked = writer.mark(rows, buffer);
        wake();
        return marked;
      },
      unsettled: () => link.unsettled,
      putOff(row, afterMs, info) {
        writer.putOff({ link, row, afterMs, info });
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
        if (links.open.get(linkId) === link) links.open.delete(linkId);
      },
    };
  };

  return {
    openLink,
    setDefault(linkId) {
      if (links.defaultId === linkId) return;
      links.defaultId = linkId;
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
      if (writer.pendingCount() === 0) return;
      wake();
      await Promise.race([idle.promise, delay(timeoutMs)]);
    },
    async close() {
      isClosed = true;
      if (flushTimer) clearTimeout(flushTimer);
      wake();
      await running;
      writer.close();
    },
  };
};
