-- What a message may hold besides text, on its way out and in; what became of it; and who may use which
-- account. Columns of the queue that most rows leave empty are read by the daemon as one (see store.ts).

create type xmpp_chat_state as enum ('active', 'composing', 'paused', 'inactive', 'gone');

alter table xmpp_tx_queue
  add column message_html    text,
  add column oob_url         text,
  add column attachment      bytea,
  add column attachment_path text,
  add column attachment_name text,
  add column attachment_type text,
  add column replaces_id     text,
  add column retracts_id     text,
  add column reaction_to     text,
  add column reactions       text[],
  add column reply_to_id     text,
  add column reply_to_jid    text,
  add column displayed_id    text,
  add column chat_state      xmpp_chat_state,
  add column hints           text[],
  add column encryption      text,
  add column error_type      text,
  add column error_condition text,
  add column error_text      text,
  add column error_by        text;

-- As it is, so that pieces of it can be read: pictures and archives are compressed already.
alter table xmpp_tx_queue alter column attachment set storage external;

alter table xmpp_rx_queue
  add column message_html    text,
  add column oob_url         text,
  add column replaces_id     text,
  add column retracts_id     text,
  add column reaction_to     text,
  add column reactions       text[],
  add column reply_to_id     text,
  add column reply_to_jid    text,
  add column markable        boolean not null default false,
  add column chat_state      xmpp_chat_state,
  add column hints           text[],
  add column encryption      text,
  add column carbon          text,
  add column occupant_id     text,
  add column error_type      text,
  add column error_text      text,
  add column error_by        text;

create table xmpp_chat_states (
  account_id bigint not null references xmpp_accounts on delete cascade,
  jid        text not null,
  chat_state xmpp_chat_state not null,
  changed_at timestamptz not null default now(),
  primary key (account_id, jid)
);

alter table xmpp_accounts
  add column granted_to           text[] not null default '{rowgram_app}',
  add column on_uncertain         text not null default 'retry',
  add column room_invite_policy   text not null default 'ask',
  add column notify_nodes         text[] not null default '{}',
  add column max_attachment_bytes bigint not null default 10000000,
  add column spoofed_count        bigint not null default 0,
  add constraint xmpp_accounts_on_uncertain_check check (on_uncertain in ('retry', 'hold', 'archive')),
  add constraint xmpp_accounts_room_invite_policy_check
    check (room_invite_policy in ('ask', 'accept', 'reject')),
  add constraint xmpp_accounts_max_attachment_bytes_check
    check (max_attachment_bytes between 0 and 1000000000);

-- How far an archive has been read: the account's own, or that of a room that it is in.
create table xmpp_archives (
  account_id bigint not null references xmpp_accounts on delete cascade,
  jid        text not null,
  archive_id text,
  read_at    timestamptz not null default now(),
  primary key (account_id, jid)
) with (fillfactor = 50);
