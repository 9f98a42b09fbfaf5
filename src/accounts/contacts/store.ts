/** The SQL of contacts, the roster and requests for a subscription. */
import type pg from 'pg';
import { type CommonQueryMethods, type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import type { ServerItem } from './mergeRoster.ts';
import type { Verdict } from './subscriptions.ts';

const subscription = z.enum(['none', 'to', 'from', 'both']);
const ask = z.literal('subscribe').nullable();

const contactRow = z.object({
  id: z.number(),
  jid: z.string(),
  name: z.string().nullable(),
  groups: z.array(z.string()).readonly(),
  subscribe: z.boolean(),
  allow: z.boolean().nullable(),
  state: z.enum(['pending', 'stored', 'failed']),
  subscription,
  ask,
  isRefused: z.boolean(),
});
export type ContactRow = z.infer<typeof contactRow>;

/** What the server has told of an item, as it waits to be merged; null when it removed the item. */
export type News = { item: ServerItem | null };

const itemRow = z.object({
  jid: z.string(),
  isCommon: z.boolean(),
  name: z.string().nullable(),
  groups: z.array(z.string()).readonly(),
  approved: z.boolean(),
  pushed: z
    .object({
      item: z
        .object({
          jid: z.string(),
          name: z.string().nullable(),
          groups: z.array(z.string()).readonly(),
          subscription,
          ask,
          approved: z.boolean(),
        })
        .nullable(),
    })
    .nullable(),
});
export type ItemRow = z.infer<typeof itemRow>;

/** Accounts with something to do, though it may be that it cannot be done. */
export const selectBehind = (db: DatabasePool): Promise<readonly number[]> =>
  db.anyFirst(sql.type(z.object({ id: z.number() }))`
    select a.id from xmpp_accounts a
    where a.state = 'online' and a.priority is not null and a.id in (
      select account_id from xmpp_contacts where state = 'pending'
      union all
      select account_id from xmpp_subscription_requests where answer is not null and answered_at is null
      union all
      select account_id from xmpp_roster_items where pushed is not null
      union all
      select i.account_id from xmpp_roster_items i
      where not exists (select from xmpp_contacts c where c.account_id = i.account_id and c.jid = i.jid))`);

/** Locks the contacts, so that nobody changes them meanwhile; gives up where somebody has one locked. */
export const lockContacts = async (
  db: CommonQueryMethods,
  accountId: number,
): Promise<readonly ContactRow[]> => {
  await db.query(sql.unsafe`set local lock_timeout = '1s'`);
  return db.any(sql.type(contactRow)`
    select id, jid, name, array_remove(groups, null) as groups, subscribe, allow, state, subscription,
      ask, refused_at is not null as "isRefused"
    from xmpp_contacts where account_id = ${accountId} order by id for update`);
};

export const selectItems = (
  db: CommonQueryMethods,
  accountId: number,
): Promise<readonly ItemRow[]> =>
  db.any(sql.type(itemRow)`
    select jid, is_common as "isCommon", name, groups, approved, pushed
    from xmpp_roster_items where account_id = ${accountId}`);

/** A contact as the merge leaves it; without an id it is new. */
export type ContactChange = Omit<ContactRow, 'id' | 'state'> & { id: number | null };

/** The common version of an item, once `pushed` is merged. */
export type ItemChange = {
  jid: string;
  item: Pick<ServerItem, 'name' | 'groups' | 'approved'> | null;
  pushed: News | null;
};

/** The statements that write contacts come first: they may wait, and no lock on an item is to wait with them. */
export const writeMerge = async (
  db: CommonQueryMethods,
  accountId: number,
  accountJid: string,
  changes: { contacts: ContactChange[]; deleted: number[]; items: ItemChange[] },
): Promise<void> => {
  const contacts = JSON.stringify(changes.contacts);
  const recordset = sql.fragment`jsonb_to_recordset(${contacts}::jsonb) as n (
    id bigint, jid text, name text, groups text[], subscribe boolean, allow boolean,
    subscription text, ask text, "isRefused" boolean)`;
  if (changes.deleted.length > 0) {
    await db.query(sql.unsafe`
      delete from xmpp_contacts where id = any(${sql.array(changes.deleted, 'int8')})`);
  }
  if (changes.contacts.some(({ id }) => id !== null)) {
    await db.query(sql.unsafe`
      update xmpp_contacts c set
        name = n.name, groups = n.groups, subscribe = n.subscribe, subscription = n.subscription,
        ask = n.ask, refused_at = case when n."isRefused" then coalesce(c.refused_at, now()) end,
        state_changed_at = clock_timestamp()
      from ${recordset}
      where c.id = n.id`);
  }
  if (changes.contacts.some(({ id }) => id === null)) {
    await db.query(sql.unsafe`
      insert into xmpp_contacts (account_id, jid, name, groups, subscribe, state, subscription, ask)
      select ${accountId}, n.jid, n.name, n.groups, n.subscribe, 'stored', n.subscription, n.ask
      from ${recordset} where n.id is null
      on conflict (account_id, jid) do nothing`);
  }
  if (changes.items.length === 0) return;
  await db.query(sql.unsafe`
    update xmpp_roster_items i set
      account_jid = ${accountJid}, is_common = n.item <> 'false', name = n.item ->> 'name',
      groups = coalesce(array(select jsonb_array_elements_text(n.item -> 'groups')), '{}'),
      approved = coalesce((n.item ->> 'approved')::boolean, false),
      -- What was told meanwhile is merged next.
      pushed = case when i.pushed is distinct from n.pushed then i.pushed end
    from jsonb_to_recordset(${JSON.stringify(changes.items.map(toRecord))}::jsonb)
      as n (jid text, item jsonb, pushed jsonb)
    where i.account_id = ${accountId} and i.jid = n.jid`);
  await deleteUncommon(db, accountId);
};

// In a record a JSON null would be an SQL one.
const toRecord = ({ jid, item, pushed }: ItemChange) => ({
  jid,
  item: item ?? false,
  pushed,
});

const deleteUncommon = async (db: CommonQueryMethods, accountId: number): Promise<void> => {
  await db.query(sql.unsafe`
    delete from xmpp_roster_items
    where account_id = ${accountId} and not is_common and pushed ->> 'item' is null`);
};

/** The server has taken the contact's name and groups. */
export const upsertCommon = async (
  db: CommonQueryMethods,
  accountId: number,
  accountJid: string,
  { jid, name, groups }: { jid: string; name: string | null; groups: readonly string[] },
): Promise<void> => {
  await db.query(sql.unsafe`
    insert into xmpp_roster_items (account_id, account_jid, jid, is_common, name, groups)
    values (${accountId}, ${accountJid}, ${jid}, true, ${name}, ${sql.array([...groups], 'text')})
    on conflict (account_id, jid) do update set
      is_common = true, account_jid = excluded.account_jid, name = excluded.name,
      groups = excluded.groups`);
};

/** The server has removed the item. */
export const deleteCommon = async (
  db: CommonQueryMethods,
  accountId: number,
  jid: string,
): Promise<void> => {
  await db.query(sql.unsafe`
    update xmpp_roster_items set
      is_common = false, pushed = case when pushed ->> 'item' is not null then pushed end
    where account_id = ${accountId} and jid = ${jid}`);
  await deleteUncommon(db, accountId);
};

/** The server keeps what a person deleted: the row is back, with the reason. */
export const insertUndeleted = async (
  db: CommonQueryMethods,
  accountId: number,
  { jid, name, groups, info }: Pick<ItemRow, 'jid' | 'name' | 'groups'> & { info: string },
): Promise<void> => {
  await db.query(sql.unsafe`
    insert into xmpp_contacts (account_id, jid, name, groups, subscribe, state, state_info)
    values (${accountId}, ${jid}, ${name}, ${sql.array([...groups], 'text')}, false, 'failed', ${info})
    on conflict (account_id, jid) do nothing`);
};

/** Writes what became of rows, of those that nobody has changed since they were read. */
export const updateContactStates = async (
  db: CommonQueryMethods,
  rows: (Pick<ContactRow, 'id' | 'jid' | 'name' | 'groups' | 'subscribe' | 'allow'> & {
    newState: 'stored' | 'failed';
    info: string | null;
  })[],
): Promise<void> => {
  if (rows.length === 0) return;
  await db.query(sql.unsafe`
    update xmpp_contacts c set
      state = n."newState", state_info = n.info, state_changed_at = clock_timestamp()
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as n (
      id bigint, jid text, name text, groups text[], subscribe boolean, allow boolean,
      "newState" text, info text)
    where c.id = n.id and c.jid = n.jid and c.name is not distinct from n.name
      and array_remove(c.groups, null) = n.groups and c.subscribe = n.subscribe
      and c.allow is not distinct from n.allow
      and (c.state, c.state_info) is distinct from (n."newState", n.info)`);
};

const request = z.object({ jid: z.string(), answer: z.enum(['accept', 'reject']).nullable() });

/** Requests that no answer has been sent to. */
export const selectOpenRequests = (
  db: CommonQueryMethods,
  accountId: number,
): Promise<readonly z.infer<typeof request>[]> =>
  db.any(sql.type(request)`
    select jid, answer from xmpp_subscription_requests
    where account_id = ${accountId} and answered_at is null`);

export const updateAnswered = async (
  db: CommonQueryMethods,
  accountId: number,
  answers: { jid: string; answer: Verdict }[],
): Promise<void> => {
  if (answers.length === 0) return;
  await db.query(sql.unsafe`
    update xmpp_subscription_requests r set answer = n.answer, answered_at = now()
    from jsonb_to_recordset(${JSON.stringify(answers)}::jsonb) as n (jid text, answer text)
    where r.account_id = ${accountId} and r.jid = n.jid and r.answered_at is null`);
};

// Below, what runs in the transaction of the inbox: it waits for nobody's lock on a row.

/** All that the server has; what it no longer has counts as removed. */
export const writeRoster = async (
  client: pg.Client,
  accountId: number,
  accountJid: string,
  items: ServerItem[],
): Promise<void> => {
  await client.query('delete from xmpp_roster_items where account_id = $1 and account_jid <> $2', [
    accountId,
    accountJid,
  ]);
  await client.query(
    `update xmpp_roster_items set pushed = '{"item": null}'
    where account_id = $1 and not jid = any($2::text[])`,
    [accountId, items.map(({ jid }) => jid)],
  );
  for (let at = 0; at < items.length; at += CHUNK) {
    await upsertPushed(client, accountId, accountJid, items.slice(at, at + CHUNK));
  }
};

const CHUNK = 500;

const upsertPushed = async (
  client: pg.Client,
  accountId: number,
  accountJid: string,
  items: ServerItem[],
): Promise<void> => {
  await client.query({
    name: 'upsert_pushed',
    text: `
      insert into xmpp_roster_items (account_id, account_jid, jid, pushed)
      select $1, $2, item ->> 'jid', jsonb_build_object('item', item)
      from jsonb_array_elements($3::jsonb) item
      on conflict (account_id, jid) do update set pushed = excluded.pushed`,
    values: [accountId, accountJid, JSON.stringify(items)],
  });
};

/** A roster push; the removal of what is not known says nothing. */
export const writePush = async (
  client: pg.Client,
  accountId: number,
  accountJid: string,
  jid: string,
  item: ServerItem | null,
): Promise<void> => {
  if (item) {
    await upsertPushed(client, accountId, accountJid, [item]);
    return;
  }
  await client.query({
    name: 'remove_pushed',
    text: `update xmpp_roster_items set pushed = '{"item": null}' where account_id = $1 and jid = $2`,
    values: [accountId, jid],
  });
};

export const selectAllowed = async (
  client: pg.Client,
  accountId: number,
): Promise<{ jid: string; allow: boolean }[]> => {
  const { rows } = await client.query<{ jid: string; allow: boolean }>(
    'select jid, allow from xmpp_contacts where account_id = $1 and allow is not null order by id',
    [accountId],
  );
  return rows;
};

/**
 * A request; servers repeat one at each login until it is answered. An answer that has not been sent yet
 * stays, and who asks again after it is asked about again.
 *
 * @param answer null for a person to decide; otherwise a row is only changed, none is made
 */
export const upsertRequest = async (
  client: pg.Client,
  accountId: number,
  request: { jid: string; status: string | null; answer: Verdict | null },
): Promise<void> => {
  const { jid, status, answer } = request;
  const { rowCount } =
    answer === null
      ? await client.query(
          `insert into xmpp_subscription_requests (account_id, jid, status) values ($1, $2, $3)
          on conflict (account_id, jid) do nothing`,
          [accountId, jid, status],
        )
      : { rowCount: 0 };
  if (rowCount) return;
  await client.query(
    `update xmpp_subscription_requests set
      status = $3, requested_at = now(),
      answer = coalesce($4, case when answered_at is null then answer end),
      answered_at = case when $4::text is not null then now() end
    where ctid in (
      select ctid from xmpp_subscription_requests where account_id = $1 and jid = $2
      for update skip locked)`,
    [accountId, jid, status, answer],
  );
};

/** Who asked no longer wants to know. */
export const deleteRequest = async (
  client: pg.Client,
  accountId: number,
  jid: string,
): Promise<void> => {
  await client.query(
    `delete from xmpp_subscription_requests where ctid in (
      select ctid from xmpp_subscription_requests
      where account_id = $1 and jid = $2 and answered_at is null for update skip locked)`,
    [accountId, jid],
  );
};
