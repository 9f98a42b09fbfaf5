-- Messages out and messages in. The queue is parted in what is to be done (hot: small, watched by the
-- daemon) and what is settled (by month); no constraint stands on it, since inserts are the hot path.

create type xmpp_message_type as enum ('normal', 'chat', 'groupchat', 'headline');

create table xmpp_tx_queue (
  id                   bigserial,
  insert_timestamp     timestamptz not null default now(),
  message_stanza       text,
  message_to           text,
  message_subject      text,
  message_body         text,
  submission_timestamp timestamptz,
  submission_failed    boolean not null default false,
  submission_info      text,
  account_id           bigint,
  message_type         xmpp_message_type not null default 'chat',
  thread               text,
  lang                 text,
  request_receipt      boolean not null default true,
  send_after           timestamptz,
  expires_at           timestamptz,
  priority             smallint not null default 0,
  idempotency_key      text,
  state                rowgram_state not null default 'queued',
  attempts             smallint not null default 0,
  next_try_at          timestamptz,
  stanza_id            text,
  delivered_at         timestamptz,
  displayed_at         timestamptz,
  created_by           text not null default current_user,
  txid                 xid8 not null default pg_current_xact_id(),
  settled              boolean not null default false
) partition by list (settled);

create table xmpp_tx_queue_hot partition of xmpp_tx_queue for values in (false)
  with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.5);
alter table xmpp_tx_queue_hot add primary key (id);
create index xmpp_tx_queue_hot_txid_idx on xmpp_tx_queue_hot (txid);
create index xmpp_tx_queue_hot_account_id_priority_id_idx
  on xmpp_tx_queue_hot (account_id, priority, id);
create index xmpp_tx_queue_hot_send_after_idx
  on xmpp_tx_queue_hot (send_after) where send_after is not null;
create index xmpp_tx_queue_hot_expires_at_idx
  on xmpp_tx_queue_hot (expires_at) where expires_at is not null;

create table xmpp_tx_queue_settled partition of xmpp_tx_queue for values in (true)
  partition by range (insert_timestamp);
create index xmpp_tx_queue_settled_id_idx on xmpp_tx_queue_settled (id);
create table xmpp_tx_queue_settled_other partition of xmpp_tx_queue_settled default;

create table xmpp_rx_queue (
  id               bigserial,
  insert_timestamp timestamptz not null default now(),
  message_stanza   text not null,
  message_from     text,
  message_subject  text,
  message_body     text,
  message_to       text not null,
  account_id       bigint not null,
  message_type     text not null,
  message_id       text,
  origin_id        text,
  archive_id       text,
  thread           text,
  lang             text,
  delayed_at       timestamptz,
  error_condition  text
) partition by range (insert_timestamp);
create index xmpp_rx_queue_id_idx on xmpp_rx_queue (id);
create index xmpp_rx_queue_account_id_id_idx on xmpp_rx_queue (account_id, id);
create index xmpp_rx_queue_account_id_archive_id_idx
  on xmpp_rx_queue (account_id, archive_id) where archive_id is not null;
-- Senders choose their ids, endless ones too, which no index would take.
create index xmpp_rx_queue_account_id_message_id_idx on xmpp_rx_queue (account_id, left(message_id, 100));
create table xmpp_rx_queue_other partition of xmpp_rx_queue default;
