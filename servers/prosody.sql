-- What Prosody reads: its own storage table as a view of rowgram_users. Safe to run again.

do $$
begin
  if not exists (select from pg_roles where rolname = 'prosody') then
    create role prosody login;
  end if;
end
$$;
alter role prosody set search_path = prosody;
create schema if not exists prosody;
grant usage on schema prosody to prosody;

-- The keys of SCRAM-SHA-256 after: alter role prosody set rowgram.scram = 'sha-256';
create or replace view prosody.prosody with (security_barrier) as
  select u.domain as host, u.login as "user", 'accounts' as store, k.key, k.type, k.value
  from rowgram_users u
  cross join lateral regexp_match(
    case current_setting('rowgram.scram', true) when 'sha-256' then u.scram_sha256 else u.scram_sha1 end,
    '\$(\d+):(.+)\$(.+):(.+)$') as m
  cross join lateral (values
    ('iteration_count', 'number', m[1]),
    ('salt', 'string', encode(decode(m[2], 'base64'), 'escape')),
    ('stored_key', 'string', encode(decode(m[3], 'base64'), 'hex')),
    ('server_key', 'string', encode(decode(m[4], 'base64'), 'hex'))) as k (key, type, value)
  where u.enabled and m is not null;

-- For mod_auth_sql, which knows only the password itself: users who have it in plain.
create or replace view prosody.authreg with (security_barrier) as
  select u.login as username, u.domain as realm, u.plain as password
  from rowgram_users u
  where u.enabled and u.plain is not null;

grant select on prosody.prosody, prosody.authreg to prosody;
