/** The SQL of requests to others. */
import type pg from 'pg';
import type { QueueTable } from '../../db/queueSql.ts';
import type { RowKey } from '../stanzaId.ts';
import type { Answer, Asking } from './stanzas.ts';

/** The queue of requests as the accounts see it. */
export const IQ_QUEUE: QueueTable = {
  name: 'xmpp_iq_queue',
  gateway: 'xmpp',
  linkColumn: 'account_id',
  content: `floor(extract(epoch from q.insert_timestamp))::bigint as "insertedAtS",
    q.iq_to as "iqTo", q.iq_type::text as "iqType", q.payload,
    least(greatest(q.timeout_s, 1), 86400) as "timeoutS"`,
};

const WHERE_KEY = `q.id = $1
  and q.insert_timestamp >= to_timestamp($2) and q.insert_timestamp < to_timestamp($2 + 1)`;

/** What an answer must fit; a row of the default account may not name it yet. */
export type Asked = Pick<Asking, 'iqTo'> & { accountId: number | null };

export const selectAsked = async (
  client: pg.Client,
  { id, insertedAtS }: RowKey,
): Promise<Asked | null> => {
  const { rows } = await client.query<Asked>({
    name: 'select_asked',
    text: `
      select q.iq_to as "iqTo", q.account_id as "accountId" from xmpp_iq_queue q
      where ${WHERE_KEY}`,
    values: [id, insertedAtS],
  });
  return rows[0] ?? null;
};

export type Answered = RowKey & Answer & { accountId: number; stanzaId: string };

/** Settles a row by its answer and tells of it; one that has failed meanwhile, or has an answer, keeps it. */
export const updateAnswered = async (client: pg.Client, answer: Answered): Promise<void> => {
  await client.query({
    name: 'update_answered',
    text: `
      update xmpp_iq_queue q set
        settled = true, state = $3::rowgram_state, stanza_id = $4,
        account_id = coalesce(q.account_id, $5),
        response = $6, error_type = $7, error_condition = $8, error_text = $9,
        submission_info = case when q.state = 'cancelled'
          then concat_ws('; ', 'cancelled too late, it had been sent', $10::text) else $10 end,
        submission_timestamp = now(), submission_failed = $3::rowgram_state = 'failed',
        delivered_at = case when $3::rowgram_state = 'delivered' then now() end
      where ${WHERE_KEY} and q.state in ('queued', 'cancelled')`,
    values: [
      answer.id,
      answer.insertedAtS,
      answer.state,
      answer.stanzaId,
      answer.accountId,
      answer.response,
      answer.errorType,
      answer.errorCondition,
      answer.errorText,
      answer.info,
    ],
  });
  await client.query("select pg_notify('xmpp_iq_queue_results', '')");
};
