-- What Kamailio reads: its subscribers as a view of rowgram_users. Safe to run again.

do $$
begin
  if not exists (select from pg_roles where rolname = 'kamailio') then
    create role kamailio login;
  end if;
end
$$;
alter role kamailio set search_path = kamailio;
create schema if not exists kamailio;
grant usage on schema kamailio to kamailio;

create or replace view kamailio.subscriber with (security_barrier) as
  select u.login as username, u.domain, u.digest_ha1 as ha1, u.digest_ha1b as ha1b
  from rowgram_users u
  where u.enabled and u.digest_ha1 is not null;

-- Which version of the table auth_db looks for.
create or replace view kamailio.version with (security_barrier) as
  select 'subscriber' as table_name, 7 as table_version;

grant select on kamailio.subscriber, kamailio.version to kamailio;
