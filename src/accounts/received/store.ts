/**
 * The SQL of received messages, the hot path of reception: raw pg on the inbox's own connection, in its
 * transaction.
 */
import type pg from 'pg';
import type { StanzaError } from '../../xmpp/wire/error.ts';
import type { RowKey } from '../stanzaId.ts';
import type { Incoming } from '../stanzas.ts';

export type Received = Incoming & { accountId: number; ownJid: string };

const formatContent = ({ content, carbon }: Received): string | null =>
  content === null && carbon === null ? null : JSON.stringify({ ...content, carbon });

/** What two copies of a message have in common; an archive id is that of an archive, so of a sender. */
const archiveKey = ({ accountId, from, archiveId }: Received): string | null =>
  archiveId && JSON.stringify([accountId, from?.split('/', 1)[0], archiveId]);
const contentKey = ({ accountId, from, id, body }: Received): string | null =>
  id && JSON.stringify([accountId, from, id, body]);

/** One of each message of the batch, which the statement cannot see in the table. */
const dropRepeated = (messages: Received[]): Received[] => {
  const archived = new Set<string>();
  const kept = new Map<string, Received>();
  return messages.filter((message) => {
    const [inArchive, content] = [archiveKey(message), contentKey(message)];
    if (inArchive !== null && archived.has(inArchive)) return false;
    const other = content !== null && message.delayedAt !== null && kept.get(content);
    if (other && (other.archiveId === null || message.archiveId === null)) return false;
    if (inArchive !== null) archived.add(inArchive);
    if (content !== null) kept.set(content, message);
    return true;
  });
};

/**
 * Inserts messages in their order, but for copies of those that are here, and tells of them. A copy has
 * the archive id of another, be it that of the account's archive or of a room's. Or it comes late, such
 * as out of an offline store after what was acknowledged last was lost on its way, and has the sender,
 * id and text of a message that has come since it was held back, one of both without an archive id.
 */
export const insertReceived = async (client: pg.Client, received: Received[]): Promise<void> => {
  const messages = dropRepeated(received);
  const column = <T>(read: (message: Received) => T): T[] => messages.map(read);
  await client.query({
    name: 'insert_received',
    text: `
      insert into xmpp_rx_queue (account_id, message_stanza, message_from, message_to, message_subject,
        message_body, message_type, message_id, origin_id, archive_id, thread, lang, delayed_at,
        error_condition, message_html, oob_url, replaces_id, retracts_id, reaction_to, reactions,
        reply_to_id, reply_to_jid, markable, chat_state, hints, encryption, carbon, occupant_id,
        error_type, error_text, error_by)
      select r.account_id, r.stanza, r.sender, r.recipient, r.subject, r.body, r.type, r.id,
        r.origin_id, r.archive_id, r.thread, r.lang, r.delayed_at, r.error_condition, c."messageHtml",
        c."oobUrl", c."replacesId", c."retractsId", c."reactionTo", c.reactions, c."replyToId",
        c."replyToJid", coalesce(c.markable, false), c."chatState", c.hints, c.encryption, c.carbon,
        c."occupantId", c."errorType", c."errorText", c."errorBy"
      from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::text[],
        $15::jsonb[])
        with ordinality as r (account_id, stanza, sender, recipient, subject, body, type, id, origin_id,
          archive_id, thread, lang, delayed_at, error_condition, content, place)
      left join lateral jsonb_to_record(r.content) as c ("messageHtml" text, "oobUrl" text,
        "replacesId" text, "retractsId" text, "reactionTo" text, reactions text[], "replyToId" text,
        "replyToJid" text, markable boolean, "chatState" xmpp_chat_state, hints text[], encryption text,
        carbon text, "occupantId" text, "errorType" text, "errorText" text, "errorBy" text)
        on r.content is not null
      where (r.archive_id is null or not exists (
          select from xmpp_rx_queue q
          where q.account_id = r.account_id and q.archive_id = r.archive_id
            and split_part(q.message_from, '/', 1) is not distinct from split_part(r.sender, '/', 1)))
        and (r.id is null or r.delayed_at is null or not exists (
          select from xmpp_rx_queue q
          where q.account_id = r.account_id and left(q.message_id, 100) = left(r.id, 100)
            and q.message_id = r.id and q.message_from is not distinct from r.sender
            and q.message_body is not distinct from r.body
            and (q.archive_id is null or r.archive_id is null)
            -- Clocks differ.
            and q.insert_timestamp > r.delayed_at - interval '10 min'))
      order by r.place`,
    values: [
      column(({ accountId }) => accountId),
      column(({ stanza }) => stanza),
      column(({ from }) => from),
      column(({ to, ownJid }) => to ?? ownJid),
      column(({ subject }) => subject),
      column(({ body }) => body),
      column(({ type }) => type),
      column(({ id }) => id),
      column(({ originId }) => originId),
      column(({ archiveId }) => archiveId),
      column(({ thread }) => thread),
      column(({ lang }) => lang),
      column(({ delayedAt }) => delayedAt),
      column(({ errorCondition }) => errorCondition),
      column(formatContent),
    ],
  });
  await client.query("select pg_notify('xmpp_rx_queue', '')");
};

/** The rows that reports speak of: what the report must fit. A row of the default account may not name it yet. */
export type Reported = RowKey & {
  accountId: number | null;
  to: string | null;
  stanza: string | null;
};

export const selectReported = async (client: pg.Client, keys: RowKey[]): Promise<Reported[]> => {
  const { rows } = await client.query<Reported>({
    name: 'select_reported',
    text: `
      select q.id, k.inserted_at_s as "insertedAtS", q.account_id as "accountId", q.message_to as "to",
        q.message_stanza as stanza
      from unnest($1::bigint[], $2::bigint[]) as k (id, inserted_at_s)
      join xmpp_tx_queue q on q.id = k.id
        and q.insert_timestamp >= to_timestamp(k.inserted_at_s)
        and q.insert_timestamp < to_timestamp(k.inserted_at_s + 1)`,
    values: [keys.map(({ id }) => id), keys.map(({ insertedAtS }) => insertedAtS)],
  });
  return rows;
};

export type Finding = RowKey & {
  kind: 'submitted' | 'delivered' | 'displayed' | 'failed';
  info: string | null;
  accountId: number;
  stanzaId: string;
  error: StanzaError | null;
};

/** An error that may pass queues the row again, ten times at most. */
const IS_RETRIED = `(f.kind = 'failed' and f.error_type = 'wait' and q.attempts < 10)`;

/**
 * Writes what became of sent rows. A read message was delivered; an error after delivery is no news. A
 * report may be here before the server's acknowledgement: then it settles the row. An error of type wait
 * queues the row again (RFC 6120 §8.3.2), after 5 seconds, doubling up to 15 minutes. It ends the doubt
 * about one that was held.
 */
export const updateReported = async (client: pg.Client, findings: Finding[]): Promise<void> => {
  await client.query({
    name: 'update_reported',
    text: `
      update xmpp_tx_queue q set
        settled = not ${IS_RETRIED},
        state = case when ${IS_RETRIED} then 'queued' else f.kind::rowgram_state end,
        stanza_id = f.stanza_id, account_id = coalesce(q.account_id, f.account_id),
        attempts = q.attempts + ${IS_RETRIED}::integer,
        next_try_at = case when ${IS_RETRIED}
          then now() + least(interval '5 s' * 2 ^ q.attempts, interval '15 min') end,
        txid = case when ${IS_RETRIED} then pg_current_xact_id() else q.txid end,
        submission_timestamp = case when not ${IS_RETRIED} then coalesce(q.submission_timestamp, now()) end,
        delivered_at = case when f.kind in ('failed', 'submitted') then q.delivered_at else coalesce(q.delivered_at, now()) end,
        displayed_at = case when f.kind = 'displayed' then coalesce(q.displayed_at, now()) else q.displayed_at end,
        submission_failed = f.kind = 'failed' and not ${IS_RETRIED},
        submission_info = case
          when f.kind = 'submitted' and q.state = 'cancelled' then 'cancelled too late, it had been sent'
          when f.kind = 'submitted' or q.submission_info like 'uncertain:%' then f.info
          else coalesce(f.info, q.submission_info) end,
        error_type = f.error_type,
        error_condition = f.error_condition, error_text = f.error_text, error_by = f.error_by
      from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::text[]) as f (id, inserted_at_s, kind, info, account_id, stanza_id,
        error_type, error_condition, error_text, error_by)
      where q.id = f.id
        and q.insert_timestamp >= to_timestamp(f.inserted_at_s)
        and q.insert_timestamp < to_timestamp(f.inserted_at_s + 1)
        and (q.state in ('queued', 'submitting') or (q.state = 'submitted' and f.kind <> 'submitted')
          or (q.state = 'cancelled' and f.kind = 'submitted')
          or (q.state = 'delivered' and f.kind = 'displayed')
          or (q.state = 'failed' and q.submission_info like 'uncertain:%'))`,
    values: [
      findings.map(({ id }) => id),
      findings.map(({ insertedAtS }) => insertedAtS),
      findings.map(({ kind }) => kind),
      findings.map(({ info }) => info),
      findings.map(({ accountId }) => accountId),
      findings.map(({ stanzaId }) => stanzaId),
      findings.map(({ error }) => error?.type),
      findings.map(({ error }) => error?.condition),
      findings.map(({ error }) => error?.text),
      findings.map(({ error }) => error?.by),
    ],
  });
  await client.query("select pg_notify('xmpp_tx_queue_results', '')");
};

/** Counts claims that were not believed, by the accounts that got them. */
export const addSpoofed = async (client: pg.Client, accountIds: number[]): Promise<void> => {
  await client.query({
    name: 'add_spoofed',
    text: `
      update xmpp_accounts a set spoofed_count = a.spoofed_count + c.count
      from (select id, count(*) from unnest($1::bigint[]) as id group by id) c
      where a.id = c.id`,
    values: [accountIds],
  });
};

/** How far each account's stream has been received for good. */
export type StreamProgress = { accountId: number; streamId: string; h: number };

export const selectProgress = async (
  client: pg.Client,
  accountIds: number[],
): Promise<StreamProgress[]> => {
  const { rows } = await client.query<StreamProgress>(
    `select account_id as "accountId", sm_id as "streamId", sm_h as h
    from xmpp_streams where account_id = any($1::bigint[])`,
    [accountIds],
  );
  return rows;
};

export const updateProgress = async (
  client: pg.Client,
  streams: StreamProgress[],
): Promise<void> => {
  await client.query({
    name: 'update_progress',
    text: `
      update xmpp_streams s set sm_h = p.h, updated_at = now()
      from unnest($1::bigint[], $2::text[], $3::bigint[]) as p (account_id, sm_id, h)
      where s.account_id = p.account_id and s.sm_id = p.sm_id`,
    values: [
      streams.map(({ accountId }) => accountId),
      streams.map(({ streamId }) => streamId),
      streams.map(({ h }) => h),
    ],
  });
};

/**
 * Of the shards given, those whose epoch is still this one; the others have another owner. Nobody can take
 * them until the transaction ends: a new owner must see how far the old one has received.
 */
export const selectOwned = async (
  client: pg.Client,
  shards: ReadonlyMap<number, number>,
): Promise<Set<number>> => {
  const { rows } = await client.query<{ shard: number }>({
    name: 'select_owned',
    text: `
      select s.shard from rowgram_shards s
      join unnest($1::integer[], $2::bigint[]) as m (shard, epoch)
        on s.gateway = 'xmpp' and s.shard = m.shard and s.epoch = m.epoch
      for share of s`,
    values: [[...shards.keys()], [...shards.values()]],
  });
  return new Set(rows.map(({ shard }) => shard));
};
