/** The SQL of chat states. */
import type pg from 'pg';

export const upsertChatState = async (
  client: pg.Client,
  accountId: number,
  jid: string,
  state: string,
): Promise<void> => {
  await client.query(
    `insert into xmpp_chat_states (account_id, jid, chat_state) values ($1, $2, $3)
    on conflict (account_id, jid) do update set chat_state = excluded.chat_state, changed_at = now()`,
    [accountId, jid, state],
  );
  await client.query("select pg_notify('xmpp_chat_states', '')");
};

export const deleteChatStates = async (client: pg.Client, accountId: number): Promise<void> => {
  await client.query('delete from xmpp_chat_states where account_id = $1', [accountId]);
};
