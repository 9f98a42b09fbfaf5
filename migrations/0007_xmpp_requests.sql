-- Requests: those we send and their answers, those that others send, commands, and what nodes publish.

create type xmpp_iq_type as enum ('get', 'set');

create table xmpp_iq_queue (
  id                   bigserial,
  insert_timestamp     timestamptz not null default now(),
  account_id           bigint,
  iq_to                text,
  iq_type              xmpp_iq_type not null default 'get',
  payload              text not null,
  timeout_s            integer not null default 30,
  response             text,
  error_type           text,
  error_condition      text,
  error_text           text,
  send_after           timestamptz,
  expires_at           timestamptz,
  priority             smallint not null default 0,
  idempotency_key      text,
  state                rowgram_state not null default 'queued',
  attempts             smallint not null default 0,
  next_try_at          timestamptz,
  stanza_id            text,
  submission_timestamp timestamptz,
  submission_failed    boolean not null default false,
  submission_info      text,
  delivered_at         timestamptz,
  created_by           text not null default current_user,
  txid                 xid8 not null default pg_current_xact_id(),
  settled              boolean not null default false
) partition by list (settled);

create table xmpp_iq_queue_hot partition of xmpp_iq_queue for values in (false) with (fillfactor = 80);
alter table xmpp_iq_queue_hot add primary key (id);
create index xmpp_iq_queue_hot_txid_idx on xmpp_iq_queue_hot (txid);
create index xmpp_iq_queue_hot_account_id_priority_id_idx on xmpp_iq_queue_hot (account_id, priority, id);
create index xmpp_iq_queue_hot_send_after_idx on xmpp_iq_queue_hot (send_after) where send_after is not null;
create index xmpp_iq_queue_hot_expires_at_idx on xmpp_iq_queue_hot (expires_at) where expires_at is not null;
create table xmpp_iq_queue_settled partition of xmpp_iq_queue for values in (true)
  partition by range (insert_timestamp);
create index xmpp_iq_queue_settled_id_idx on xmpp_iq_queue_settled (id);
create table xmpp_iq_queue_settled_other partition of xmpp_iq_queue_settled default;

-- Which requests of others are answered, by whom.
create table xmpp_iq_handlers (
  id         bigint generated always as identity primary key,
  account_id bigint references xmpp_accounts on delete cascade,
  namespace  text not null,
  function   text,
  timeout_s  integer not null default 20,
  constraint xmpp_iq_handlers_account_id_namespace_key unique nulls not distinct (account_id, namespace),
  constraint xmpp_iq_handlers_timeout_s_check check (timeout_s between 1 and 600)
);

create table xmpp_iq_requests (
  id               bigint generated always as identity primary key,
  account_id       bigint not null references xmpp_accounts on delete cascade,
  iq_from          text,
  iq_type          xmpp_iq_type not null,
  iq_id            text not null,
  namespace        text not null,
  payload          text not null,
  received_at      timestamptz not null default now(),
  answer_by        timestamptz not null,
  response         text,
  error_condition  text,
  error_text       text,
  state            text not null default 'pending',
  state_info       text,
  answered_at      timestamptz,
  constraint xmpp_iq_requests_error_condition_check check (error_condition in (
    'bad-request', 'conflict', 'feature-not-implemented', 'forbidden', 'gone', 'internal-server-error',
    'item-not-found', 'jid-malformed', 'not-acceptable', 'not-allowed', 'not-authorized', 'policy-violation',
    'recipient-unavailable', 'redirect', 'registration-required', 'remote-server-not-found',
    'remote-server-timeout', 'resource-constraint', 'service-unavailable', 'subscription-required',
    'undefined-condition', 'unexpected-request')),
  constraint xmpp_iq_requests_state_check check (state in ('pending', 'answered', 'expired', 'failed'))
);
create index xmpp_iq_requests_pending_idx on xmpp_iq_requests (account_id) where state = 'pending';

create table xmpp_commands (
  id         bigint generated always as identity primary key,
  account_id bigint references xmpp_accounts on delete cascade,
  node       text not null,
  name       text not null,
  function   text not null,
  allowed    text[],
  constraint xmpp_commands_account_id_node_key unique nulls not distinct (account_id, node)
);

create table xmpp_pubsub_items (
  account_id   bigint not null references xmpp_accounts on delete cascade,
  service      text not null,
  node         text not null,
  item_id      text not null,
  payload      text,
  published_at timestamptz not null default now(),
  primary key (account_id, service, node, item_id)
);
