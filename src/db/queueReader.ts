/**
 * Finds the rows of a queue: new ones by snapshot window, backlogs by page, those that are due or expire
 * by their time.
 */
import type pg from 'pg';
import type { QueueRow } from './linkBuffer.ts';
import { shardOf } from './ownership.ts';
import { dropRows, findLink, type OpenLink, type QueueLinks } from './queueLinks.ts';
import { PAGE_ROWS, type QueueSql } from './queueSql.ts';

/** Everything is read anew so often, whatever was heard. */
const SAFETY_MS = 30_000;

/** `backlog`: more than a page at once, which is to be read by pages. */
export type Found = 'nothing' | 'rows' | 'backlog';

type RawRow = QueueRow & {
  sendInMs: number | null;
  expiresInMs: number | null;
  nextTryInMs: number | null;
  snapshot?: string;
};

const toTime = (inMs: number | null, now: number): number | null =>
  inMs === null ? null : now + inMs;

type Parts<Row extends QueueRow> = {
  sql: QueueSql;
  links: QueueLinks<Row>;
  epochs(): ReadonlyMap<number, number>;
};

export const createQueueReader = <Row extends QueueRow>({ sql, links, epochs }: Parts<Row>) => {
  const ownShards = () => [...epochs().keys()];
  let snapshot = '';
  let lastDue = '-infinity';
  let dueAt = Number.POSITIVE_INFINITY;
  let expireAt = Number.POSITIVE_INFINITY;
  let resyncAt = 0;

  const readRow = (raw: RawRow, now: number): Row => {
    // Changed in place: a copy of each row would be half of what reading it costs.
    raw.expiresAt = toTime(raw.expiresInMs, now);
    raw.nextTryAt = toTime(raw.nextTryInMs, now);
    // The select list of the table is what makes it a Row; the queue knows only its own part.
    return raw as unknown as Row;
  };

  /** @returns the link that has something new to take */
  const offer = (row: Row): OpenLink<Row> | null => {
    const link = findLink(links, row.linkId);
    if (!link) {
      links.unlinked.add(row.linkId);
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

  const fetchWindow = async (client: pg.Client): Promise<Found> => {
    const { rows } = await client.query<RawRow>({ ...sql.window, values: [snapshot, ownShards()] });
    const fresh = rows.filter(({ id }) => id !== null);
    // More than a page at once is a backlog, and is read as one.
    const isBacklog = fresh.length === PAGE_ROWS;
    if (!isBacklog) snapshot = rows[0]?.snapshot ?? snapshot;
    offerAll(fresh);
    if (isBacklog) return 'backlog';
    return fresh.length > 0 ? 'rows' : 'nothing';
  };

  const loadPage = async (client: pg.Client, link: OpenLink<Row>): Promise<void> => {
    link.isHungry = false;
    const after = link.buffer.nextPage();
    if (after === null) return;
    const query = link.id === links.defaultId ? sql.defaultPage : sql.page;
    const values = [link.id, Number.isFinite(after.priority) ? after.priority : -32_768, after.id];
    const { rows } = await client.query<RawRow>({ ...query, values });
    if (!links.open.has(link.id)) return;
    const now = Date.now();
    link.buffer.addPage(
      rows.map((raw) => readRow(raw, now)),
      rows.length < PAGE_ROWS,
    );
    link.onRows();
  };

  /** Reads anew which links have rows; each reads its own when it asks for some. */
  const resync = async (client: pg.Client): Promise<void> => {
    resyncAt = Date.now() + SAFETY_MS;
    const first = await client.query<{ snapshot: string }>(sql.snapshot);
    snapshot = first.rows[0]?.snapshot ?? '';
    await readTimes(client);
    const { rows } = await client.query<{ id: number | null }>(sql.links);
    const owned = epochs();
    const busy = new Set<OpenLink<Row>>();
    for (const { id } of rows) {
      if (!owned.has(shardOf(id))) continue;
      const link = findLink(links, id);
      if (link) busy.add(link);
      else links.unlinked.add(id);
    }
    for (const link of links.open.values()) {
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

  const expire = async (client: pg.Client): Promise<void> => {
    const taken = [...links.open.values()].flatMap(({ buffer }) => buffer.takenIds());
    const { rows } = await client.query<{ id: number }>({
      ...sql.expire,
      values: [ownShards(), taken],
    });
    const gone = new Set(rows.map(({ id }) => id));
    for (const link of links.open.values()) dropRows(link, (id) => gone.has(id));
    await readTimes(client);
    // What is taken or another daemon's is settled by whoever has it.
    if (gone.size < PAGE_ROWS) expireAt = Math.max(expireAt, Date.now() + 1_000);
  };

  const recheckHeld = async (client: pg.Client): Promise<void> => {
    for (const link of links.open.values()) {
      const ids = link.buffer.ids();
      if (ids.length === 0) continue;
      const { rows } = await client.query<{ id: number }>({ ...sql.remaining, values: [ids] });
      const remaining = new Set(rows.map(({ id }) => id));
      dropRows(link, (id) => !remaining.has(id));
    }
  };

  return {
    fetchWindow,
    /** Reads the next page of every link that has asked for one. */
    loadPages: (client: pg.Client): Promise<void>[] =>
      [...links.open.values()].flatMap((link) => (link.isHungry ? loadPage(client, link) : [])),
    resync,
    recheckHeld,
    mustResync: (now: number): boolean => now >= resyncAt,
    /** Fetches and expires what the time has come for. */
    async catchUp(client: pg.Client, now: number): Promise<void> {
      if (now >= dueAt) await fetchDue(client);
      if (now >= expireAt) await expire(client);
    },
    /** When there is something to read again, in milliseconds. */
    nextAt: (): number => Math.min(dueAt, expireAt, resyncAt),
  };
};
