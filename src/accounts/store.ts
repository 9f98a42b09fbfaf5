/** The SQL of the accounts: what is desired of them, their states and streams, and their queue. */
import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import type { QueueTable } from '../db/queueSql.ts';
import type { Resumption } from '../xmpp/agreement.ts';

/** The desired part of an account's row. */
const account = z.object({
  id: z.number(),
  enabled: z.boolean(),
  jid: z.string(),
  password: z.string(),
  host: z.string(),
  port: z.number(),
  isDefault: z.boolean(),
  resource: z.string(),
  tls: z.enum(['auto', 'starttls', 'direct', 'none']),
  ca: z.string().nullable(),
  priority: z.number().nullable(),
  show: z.string().nullable(),
  status: z.string().nullable(),
  subscriptionPolicy: z.enum(['ask', 'accept', 'reject']),
  sendReceipts: z.boolean(),
  roomInvitePolicy: z.enum(['ask', 'accept', 'reject']),
  maxStanzaBytes: z.number(),
  maxAttachmentBytes: z.number(),
  onUncertain: z.enum(['retry', 'hold', 'archive']),
  notifyNodes: z.array(z.string()),
});
export type Account = z.infer<typeof account>;

/** Every account, since a row may name one that another daemon holds. */
export const selectAccounts = (db: DatabasePool): Promise<readonly Account[]> =>
  db.any(sql.type(account)`
    select id, enabled, acc_jid as jid, acc_pass as password, srv_host as host, srv_port as port,
      is_default as "isDefault", resource, tls, tls_ca as ca, priority, show, status,
      subscription_policy as "subscriptionPolicy", send_receipts as "sendReceipts",
      max_stanza_bytes as "maxStanzaBytes", max_attachment_bytes as "maxAttachmentBytes",
      on_uncertain as "onUncertain", room_invite_policy as "roomInvitePolicy",
      notify_nodes as "notifyNodes"
    from xmpp_accounts
    order by id`);

export const selectSecret = (db: DatabasePool): Promise<string> =>
  db.oneFirst(sql.type(z.object({ secret: z.string() }))`
    select stanza_id_secret as secret from rowgram_settings`);

const resumption = z.object({
  id: z.string(),
  h: z.number(),
  location: z.string().nullable(),
  fullJid: z.string(),
});

export const selectResumption = (db: DatabasePool, accountId: number): Promise<Resumption | null> =>
  db.maybeOne(sql.type(resumption)`
    select sm_id as id, sm_h as h, location, full_jid as "fullJid"
    from xmpp_streams
    where account_id = ${accountId}`);

export const deleteResumption = async (db: DatabasePool, accountId: number): Promise<void> => {
  await db.query(sql.unsafe`delete from xmpp_streams where account_id = ${accountId}`);
};

export const upsertResumption = async (
  db: DatabasePool,
  accountId: number,
  { id, h, location, fullJid }: Resumption,
): Promise<void> => {
  await db.query(sql.unsafe`
    insert into xmpp_streams (account_id, full_jid, sm_id, sm_h, location)
    values (${accountId}, ${fullJid}, ${id}, ${h}, ${location})
    on conflict (account_id) do update set
      full_jid = excluded.full_jid, sm_id = excluded.sm_id, sm_h = excluded.sm_h,
      location = excluded.location, updated_at = now()`);
};

export type AccountState = {
  accountId: number;
  state: 'off' | 'connecting' | 'online' | 'backoff' | 'refused' | 'conflict';
  info: string | null;
  /** Milliseconds; null for no next try. */
  afterMs: number | null;
  fullJid: string | null;
};

/** Writes the states of many accounts in one statement. */
export const updateStates = async (db: DatabasePool, states: AccountState[]): Promise<void> => {
  await db.query(sql.unsafe`
    update xmpp_accounts a set
      state = s.state, state_info = s.info, full_jid = s.full_jid,
      state_changed_at = case when a.state = s.state then a.state_changed_at else now() end,
      next_try_at = now() + make_interval(secs => s.after_ms / 1000)
    from ${sql.unnest(
      states.map(({ accountId, state, info, afterMs, fullJid }) => [
        accountId,
        state,
        info,
        afterMs,
        fullJid,
      ]),
      ['int8', 'text', 'text', 'float8', 'text'],
    )} as s (id, state, info, after_ms, full_jid)
    where a.id = s.id`);
};

/** Accounts that are not to be online, and whose last daemon could not say so. */
export const updateOff = async (db: DatabasePool, accountIds: number[]): Promise<void> => {
  await db.query(sql.unsafe`
    update xmpp_accounts set
      state = 'off', state_info = null, next_try_at = null, full_jid = null, state_changed_at = now()
    where id = any(${sql.array(accountIds, 'int8')}) and not enabled and state <> 'off'`);
};

/** The queue as the accounts see it. */
export const TX_QUEUE: QueueTable = {
  name: 'xmpp_tx_queue',
  gateway: 'xmpp',
  linkColumn: 'account_id',
  content: `floor(extract(epoch from q.insert_timestamp))::bigint as "insertedAtS",
    q.message_stanza as "messageStanza", q.message_to as "messageTo",
    q.message_subject as "messageSubject", q.message_body as "messageBody",
    q.message_type::text as "messageType", q.thread, q.lang, q.request_receipt as "requestReceipt",
    case when num_nonnulls(q.message_html, q.oob_url, q.attachment, q.attachment_path, q.replaces_id,
        q.retracts_id, q.reaction_to, q.reactions, q.reply_to_id, q.reply_to_jid, q.displayed_id, q.chat_state,
        q.hints, q.encryption) > 0
      then jsonb_build_object('messageHtml', q.message_html, 'oobUrl', q.oob_url, 'replacesId', q.replaces_id,
        'retractsId', q.retracts_id, 'reactionTo', q.reaction_to, 'reactions', q.reactions,
        'replyToId', q.reply_to_id, 'replyToJid', q.reply_to_jid, 'displayedId', q.displayed_id,
        'chatState', q.chat_state, 'hints', q.hints, 'encryption', q.encryption,
        'hasAttachment', q.attachment is not null or q.attachment_path is not null)
    end as content`,
};
