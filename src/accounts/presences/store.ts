/** The SQL of presences, seen and shown. */
import type pg from 'pg';
import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import type { Address, Presence } from './stanzas.ts';

/** What a daemon that was killed has left of accounts that are disabled since; no part looks after those. */
export const deleteStale = async (db: DatabasePool): Promise<void> => {
  await db.query(sql.unsafe`
    delete from xmpp_presences p using xmpp_accounts a
    where a.id = p.account_id and not a.enabled`);
};

/** @param shown to how many each account shows presence now */
export const selectBehind = (
  db: DatabasePool,
  shown: ReadonlyMap<number, number>,
): Promise<readonly number[]> =>
  db.anyFirst(sql.type(z.object({ id: z.number() }))`
    select d.account_id as id from xmpp_directed_presences d
    join xmpp_accounts a on a.id = d.account_id and a.state = 'online'
    where d.state = 'pending'
    union
    select s.id from ${sql.unnest([...shown], ['int8', 'int8'])} as s (id, count)
    where s.count <> (
      select count(*) from xmpp_directed_presences d where d.account_id = s.id and d.state = 'sent')`);

const directed = z.object({
  jid: z.string(),
  show: z.string().nullable(),
  status: z.string().nullable(),
  state: z.enum(['pending', 'sent', 'failed']),
});
export type DirectedRow = z.infer<typeof directed>;

export const selectDirected = (
  db: DatabasePool,
  accountId: number,
): Promise<readonly DirectedRow[]> =>
  db.any(sql.type(directed)`
    select jid, show, status, state from xmpp_directed_presences
    where account_id = ${accountId} order by jid`);

/** Writes what became of rows, of those that nobody has changed since they were read. */
export const updateDirected = async (
  db: DatabasePool,
  accountId: number,
  rows: (Omit<DirectedRow, 'state'> & { newState: 'sent' | 'failed'; info: string | null })[],
): Promise<void> => {
  if (rows.length === 0) return;
  await db.query(sql.unsafe`
    update xmpp_directed_presences d set
      state = n."newState", state_info = n.info, state_changed_at = now()
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as n (
      jid text, show text, status text, "newState" text, info text)
    where d.account_id = ${accountId} and d.jid = n.jid and d.show is not distinct from n.show
      and d.status is not distinct from n.status
      and (d.state, d.state_info) is distinct from (n."newState", n.info)`);
};

// Below, what runs in the transaction of the inbox: it waits for nobody's lock on a row.

export const upsertPresence = async (
  client: pg.Client,
  accountId: number,
  { jid, bareJid, show, status, priority, avatarHash }: Presence,
): Promise<void> => {
  await client.query({
    name: 'upsert_presence',
    text: `
      insert into xmpp_presences as p (account_id, jid, bare_jid, show, status, priority, avatar_hash)
      values ($1, $2, $3, $4, $5, $6, $7)
      on conflict (account_id, jid) do update set
        show = excluded.show, status = excluded.status, priority = excluded.priority,
        avatar_hash = excluded.avatar_hash, since = excluded.since
      where (p.show, p.status, p.priority, p.avatar_hash) is distinct from
        (excluded.show, excluded.status, excluded.priority, excluded.avatar_hash)`,
    values: [accountId, jid, bareJid, show, status, priority, avatarHash],
  });
};

/** Without a resource all of them are gone. */
export const deletePresence = async (
  client: pg.Client,
  accountId: number,
  { jid, bareJid }: Address,
): Promise<void> => {
  await client.query({
    name: 'delete_presence',
    text: 'delete from xmpp_presences where account_id = $1 and bare_jid = $2 and $3 in (jid, bare_jid)',
    values: [accountId, bareJid, jid],
  });
};

/** A row as it was, to be put back. */
export type Withdrawn = { jid: string };

export const withdrawPresences = async (
  client: pg.Client,
  accountId: number,
): Promise<Withdrawn[]> => {
  const { rows } = await client.query<Withdrawn>(
    'delete from xmpp_presences where account_id = $1 returning *',
    [accountId],
  );
  return rows;
};

/** Puts rows back, but for those that have come anew. */
export const restorePresences = async (client: pg.Client, rows: Withdrawn[]): Promise<void> => {
  if (rows.length === 0) return;
  await client.query(
    `insert into xmpp_presences select * from jsonb_populate_recordset(null::xmpp_presences, $1)
    on conflict (account_id, jid) do nothing`,
    [JSON.stringify(rows)],
  );
};

/** Somebody to whom presence was shown does not take it. */
export const failDirected = async (
  client: pg.Client,
  accountId: number,
  rowJid: string,
  info: string,
): Promise<void> => {
  await client.query(
    `update xmpp_directed_presences set state = 'failed', state_info = $3, state_changed_at = now()
    where ctid in (
      select ctid from xmpp_directed_presences
      where account_id = $1 and jid = $2 and state = 'sent' for update skip locked)`,
    [accountId, rowJid, info],
  );
};
