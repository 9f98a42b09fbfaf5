-- What every gateway stands on: the daemons, the shards they own, the settings, the queues' common parts.

create type rowgram_state as enum (
  'queued', 'submitting', 'submitted', 'delivered', 'displayed', 'failed', 'expired', 'cancelled'
);

create table rowgram_settings (
  id               boolean primary key default true,
  queue_keep       interval,
  received_keep    interval,
  stanza_id_secret text not null default gen_random_uuid()::text || gen_random_uuid()::text,
  constraint rowgram_settings_id_check check (id)
);

insert into rowgram_settings default values;

create table rowgram_daemons (
  id         integer generated always as identity primary key,
  host       text not null,
  pid        integer not null,
  version    text not null,
  gateways   text[] not null,
  backend    integer not null,
  started_at timestamptz not null default now(),
  seen_at    timestamptz not null default now()
);

create table rowgram_shards (
  id        integer generated always as identity primary key,
  gateway   text not null,
  shard     smallint not null,
  epoch     bigint not null default 0,
  daemon_id integer,
  taken_at  timestamptz,
  constraint rowgram_shards_gateway_shard_key unique (gateway, shard),
  constraint rowgram_shards_shard_check check (shard between 0 and 64)
);

create table rowgram_idempotency_keys (
  queue           text not null,
  created_by      text not null,
  idempotency_key text not null,
  row_id          bigint not null,
  inserted_at     timestamptz not null default now(),
  primary key (queue, created_by, idempotency_key)
);
create index rowgram_idempotency_keys_inserted_at_idx on rowgram_idempotency_keys (inserted_at);
