/** Writes what became of the rows of a queue, each under the epoch of its shard. */
import type pg from 'pg';
import type { LinkBuffer, QueueRow } from './linkBuffer.ts';
import { shardOf } from './ownership.ts';
import { dropRows, type OpenLink, type QueueLinks } from './queueLinks.ts';
import type { QueueSql } from './queueSql.ts';

export type Result = {
  state: 'submitted' | 'failed' | 'expired';
  /** Why, for people; null when there is nothing to say. */
  info: string | null;
  /** The id it had on the wire; null when it never got there. */
  stanzaId: string | null;
};

/** Results that are written at once. */
export const FLUSH_ROWS = 500;

type Pending<Row> = Result & { row: Row; linkId: number };
type PutOff<Row extends QueueRow> = {
  link: OpenLink<Row>;
  row: Row;
  afterMs: number;
  info: string;
};
type Mark<Row extends QueueRow> = {
  rows: Row[];
  buffer: LinkBuffer<Row>;
  resolve(rows: Row[]): void;
};

type Parts<Row extends QueueRow> = {
  sql: QueueSql;
  links: QueueLinks<Row>;
  epochs(): ReadonlyMap<number, number>;
};

export const createQueueWriter = <Row extends QueueRow>({ sql, links, epochs }: Parts<Row>) => {
  let pending: Pending<Row>[] = [];
  let marks: Mark<Row>[] = [];
  const putOffs: PutOff<Row>[] = [];

  /** Writes results under the epochs held now; those of shards that are gone are another's business. */
  const flush = async (client: pg.Client): Promise<void> => {
    const owned = epochs();
    // A closed link's results of a shard that is gone are dropped: no epoch is -1.
    const batch = pending
      .filter(({ row, linkId }) => owned.has(shardOf(row.linkId)) || !links.open.has(linkId))
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
      const link = links.open.get(linkId);
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
      if (rowCount === 0) dropRows(link, (id) => id === row.id);
    }
  };

  return {
    settle(linkId: number, row: Row, result: Result): void {
      pending.push({ ...result, row, linkId });
      const link = links.open.get(linkId);
      if (link) link.unsettled += 1;
    },
    putOff: (putOff: PutOff<Row>): void => void putOffs.push(putOff),
    mark(rows: Row[], buffer: LinkBuffer<Row>): Promise<Row[]> {
      const { promise, resolve } = Promise.withResolvers<Row[]>();
      marks.push({ rows, buffer, resolve });
      return promise;
    },
    writePutOffs,
    /** Writes results and marks, as far as there are any. */
    write(client: pg.Client): Promise<void>[] {
      const jobs: Promise<void>[] = [];
      // Without a shard the results wait: it may come back to us before anyone else takes it.
      if (pending.length > 0 && epochs().size > 0) jobs.push(flush(client));
      if (marks.length > 0) jobs.push(writeMarks(client));
      return jobs;
    },
    /** Results not yet written. */
    pendingCount: (): number => pending.length,
    pendingIds: (linkId: number): number[] =>
      pending.flatMap((result) => (result.linkId === linkId ? result.row.id : [])),
    /** Nothing is marked any more. */
    close(): void {
      for (const { resolve } of marks.splice(0)) resolve([]);
    },
  };
};
