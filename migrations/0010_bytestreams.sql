-- The bytestreams proxy (XEP-0065): where it listens, who may use it and how much, and what goes through it.

create table bytestream_streamhosts (
  id                      bigint generated always as identity primary key,
  proxy                   text not null,
  enabled                 boolean not null default true,
  bind_address            inet,
  port                    integer not null default 7777,
  public_host             text,
  public_port             integer,
  max_pending             integer not null default 4096,
  max_pending_per_address integer not null default 64,
  handshake_timeout_s     integer not null default 10,
  pending_timeout_s       integer not null default 60,
  idle_timeout_s          integer not null default 900,
  state                   text not null default 'off',
  state_info              text,
  state_changed_at        timestamptz not null default now(),
  constraint bytestream_streamhosts_proxy_check check (proxy ~ '^[^@/[:space:]]+$'),
  constraint bytestream_streamhosts_bind_address_check
    check (masklen(bind_address) = case family(bind_address) when 4 then 32 else 128 end),
  constraint bytestream_streamhosts_port_check check (port between 1 and 65535),
  constraint bytestream_streamhosts_public_host_check check (public_host ~ '^[^[:space:]]+$'),
  constraint bytestream_streamhosts_public_port_check check (public_port between 1 and 65535),
  constraint bytestream_streamhosts_max_pending_check check (max_pending > 0),
  constraint bytestream_streamhosts_max_pending_per_address_check check (max_pending_per_address > 0),
  constraint bytestream_streamhosts_handshake_timeout_s_check check (handshake_timeout_s between 1 and 86400),
  constraint bytestream_streamhosts_pending_timeout_s_check check (pending_timeout_s between 1 and 86400),
  constraint bytestream_streamhosts_idle_timeout_s_check check (idle_timeout_s > 0),
  constraint bytestream_streamhosts_state_check check (state in ('off', 'listening', 'failed'))
);

create table bytestream_acl (
  id       bigint generated always as identity primary key,
  position integer not null default 0,
  proxy    text,
  role     text not null,
  who      text not null,
  action   text not null,
  constraint bytestream_acl_role_check check (role in ('requester', 'target', 'ip')),
  constraint bytestream_acl_who_check check (case
    when who = '*' then true
    when role = 'ip' then who::inet is not null
    else who ~ '^([*][.][^@/[:space:]]+|([^@/[:space:]]+@)?[^@/[:space:]*]+(/.+)?)$' end),
  constraint bytestream_acl_action_check check (action in ('allow', 'deny'))
);

create table bytestream_limits (
  id           bigint generated always as identity primary key,
  proxy        text,
  who          text not null,
  max_streams  integer,
  rate_limit   bigint,
  max_bytes    bigint,
  max_time_s   integer,
  quota_bytes  bigint,
  quota_period text,
  constraint bytestream_limits_who_key unique nulls not distinct (who, proxy),
  constraint bytestream_limits_who_check
    check (who ~ '^([*]|[*][.][^@/[:space:]]+|([^@/[:space:]]+@)?[^@/[:space:]*]+(/.+)?)$'),
  constraint bytestream_limits_max_streams_check check (max_streams >= 0),
  constraint bytestream_limits_rate_limit_check check (rate_limit > 0),
  constraint bytestream_limits_max_bytes_check check (max_bytes >= 0),
  constraint bytestream_limits_max_time_s_check check (max_time_s > 0),
  constraint bytestream_limits_quota_bytes_check check (quota_bytes >= 0),
  constraint bytestream_limits_quota_period_check check (quota_period in ('hour', 'day', 'month')),
  constraint bytestream_limits_quota_check check ((quota_bytes is null) = (quota_period is null))
);

-- Counters are written once a second: half of each page is left for them.
create table bytestream_streams (
  id                uuid primary key,
  proxy             text not null,
  instance          uuid not null,
  sid               text not null,
  hash              text not null,
  requester         text not null,
  target            text not null,
  requester_address inet not null,
  target_address    inet not null,
  rate_limit        bigint,
  bytes_up          bigint not null,
  bytes_down        bigint not null,
  activated_at      timestamptz not null,
  last_byte_at      timestamptz not null,
  constraint bytestream_streams_rate_limit_check check (rate_limit > 0)
) with (fillfactor = 50);

create table bytestream_usage (
  proxy      text not null,
  jid        text not null,
  hour       timestamptz not null,
  domain     text not null,
  streams    bigint not null,
  bytes_up   bigint not null,
  bytes_down bigint not null,
  primary key (proxy, jid, hour)
);
create index bytestream_usage_hour_idx on bytestream_usage (hour);

create table bytestream_log (
  id                uuid primary key,
  proxy             text not null,
  sid               text not null,
  hash              text not null,
  requester         text not null,
  target            text not null,
  requester_address inet not null,
  target_address    inet not null,
  bytes_up          bigint not null,
  bytes_down        bigint not null,
  activated_at      timestamptz not null,
  last_byte_at      timestamptz not null,
  ended_at          timestamptz not null,
  reason            text not null,
  constraint bytestream_log_reason_check check (reason in
    ('eof', 'reset', 'idle', 'killed', 'quota', 'max_bytes', 'max_time', 'shutdown', 'crash'))
);
create index bytestream_log_ended_at_idx on bytestream_log (ended_at);
