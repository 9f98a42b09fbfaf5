-- What ejabberd reads: its own table of users as a view of rowgram_users. Safe to run again.

do $$
begin
  if not exists (select from pg_roles where rolname = 'ejabberd') then
    create role ejabberd login;
  end if;
end
$$;
alter role ejabberd set search_path = ejabberd;
create schema if not exists ejabberd;
grant usage on schema ejabberd to ejabberd;

-- The keys of SCRAM-SHA-256 after: alter role ejabberd set rowgram.scram = 'sha-256';
create or replace view ejabberd.users with (security_barrier) as
  select u.login as username, u.domain as server_host,
    case current_setting('rowgram.scram', true) when 'sha-256' then 'sha256:' else '' end || m[3] as password,
    m[4] as serverkey, m[2] as salt, m[1]::integer as iterationcount, u.password_set_at as created_at
  from rowgram_users u
  cross join lateral regexp_match(
    case current_setting('rowgram.scram', true) when 'sha-256' then u.scram_sha256 else u.scram_sha1 end,
    '\$(\d+):(.+)\$(.+):(.+)$') as m
  where u.enabled and m is not null;

grant select on ejabberd.users to ejabberd;
