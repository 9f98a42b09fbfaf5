/** The SQL of archives: how far they have been read, and what they say of sent rows. */
import type pg from 'pg';
import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import type { RowKey } from '../stanzaId.ts';
import type { Archived } from '../stanzas.ts';

const cursor = z.object({ archiveId: z.string().nullable(), readAtMs: z.number() });
/** `archiveId` is null when the archive was empty. */
export type Cursor = z.infer<typeof cursor>;

export const selectCursor = (
  db: DatabasePool,
  accountId: number,
  jid: string,
): Promise<Cursor | null> =>
  db.maybeOne(sql.type(cursor)`
    select archive_id as "archiveId", extract(epoch from read_at)::float8 * 1000 as "readAtMs"
    from xmpp_archives
    where account_id = ${accountId} and jid = ${jid}`);

/** Keeps a cursor that is there. */
export const insertCursor = async (
  client: pg.Client,
  accountId: number,
  jid: string,
  archiveId: string | null,
): Promise<void> => {
  await client.query({
    name: 'insert_cursor',
    text: `
      insert into xmpp_archives (account_id, jid, archive_id)
      select a.id, $2, $3 from xmpp_accounts a where a.id = $1
      on conflict do nothing`,
    values: [accountId, jid, archiveId],
  });
};

/** On the hot path of reception: moves the cursors of many accounts that have one. */
export const updateCursors = async (
  client: pg.Client,
  cursors: (Archived & { accountId: number; jid: string })[],
): Promise<void> => {
  await client.query({
    name: 'update_cursors',
    text: `
      update xmpp_archives a set archive_id = c.archive_id, read_at = coalesce(c.at, now())
      from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[])
        as c (account_id, jid, archive_id, at)
      where a.account_id = c.account_id and a.jid = c.jid`,
    values: [
      cursors.map(({ accountId }) => accountId),
      cursors.map(({ jid }) => jid),
      cursors.map(({ id }) => id),
      cursors.map(({ at }) => at),
    ],
  });
};

/** When the oldest row that the account has yet to send was inserted, in milliseconds; null for none. */
export const selectOldestUnsettled = async (
  db: DatabasePool,
  accountId: number,
): Promise<number | null> =>
  db.oneFirst(sql.type(z.object({ ms: z.number().nullable() }))`
    select extract(epoch from min(q.insert_timestamp))::float8 * 1000 as ms
    from xmpp_tx_queue q
    where not q.settled and (q.account_id = ${accountId} or q.account_id is null)`);

export type Arrived = RowKey & { stanzaId: string };

/**
 * Settles rows that the archive has, under the epochs of their shards.
 *
 * @returns those that are settled now, by this or before
 */
export const settleArrived = async (
  db: DatabasePool,
  accountId: number,
  arrived: Arrived[],
  epochs: ReadonlyMap<number, number>,
): Promise<readonly number[]> => {
  const rows = await db.any(sql.type(z.object({ id: z.number() }))`
    with arrived as (
      select * from ${sql.unnest(
        arrived.map(({ id, insertedAtS, stanzaId }) => [id, insertedAtS, stanzaId]),
        ['int8', 'int8', 'text'],
      )} as f (id, inserted_at_s, stanza_id)),
    held as (
      select s.shard
      from ${sql.unnest([...epochs], ['int4', 'int8'])} as h (shard, epoch)
      join rowgram_shards s on s.gateway = 'xmpp' and s.shard = h.shard and s.epoch = h.epoch),
    done as (
      update xmpp_tx_queue q set
        settled = true, state = 'submitted', submission_timestamp = now(), submission_failed = false,
        submission_info = null, stanza_id = f.stanza_id,
        account_id = coalesce(q.account_id, ${accountId})
      from arrived f
      where q.id = f.id and not q.settled
        and q.insert_timestamp >= to_timestamp(f.inserted_at_s)
        and q.insert_timestamp < to_timestamp(f.inserted_at_s + 1)
        and (q.account_id = ${accountId} or q.account_id is null)
        and coalesce(q.account_id & 63, 64) in (select shard from held)
      returning q.id),
    told as (select pg_notify('xmpp_tx_queue_results', '') where exists (select from done))
    select id from done
    union
    select q.id from arrived f
    join xmpp_tx_queue q on q.id = f.id and q.settled
      and q.insert_timestamp >= to_timestamp(f.inserted_at_s)
      and q.insert_timestamp < to_timestamp(f.inserted_at_s + 1)
    where (select count(*) from told) >= 0`);
  return rows.map(({ id }) => id);
};
