-- What jabclnd had for Openfire: its users, and the view that Openfire reads; groups and admins besides.

-- Who is there, as an account on the same server sees it. Only a change is written.
create or replace function rowgram_mark_available() returns trigger language plpgsql set search_path from current as $$
begin
  insert into rowgram_user_presences as p (account_id, bare_jid, available)
  select distinct n.account_id, n.bare_jid, true
  from new_rows n
  join xmpp_accounts a on a.id = n.account_id
  join rowgram_users u on u.domain = split_part(n.bare_jid, '@', 2) and u.login = split_part(n.bare_jid, '@', 1)
  where u.domain = lower(split_part(a.acc_jid, '@', 2))
  on conflict (account_id, bare_jid) do update set available = true, changed_at = now() where not p.available;
  return null;
end
$$;

create or replace trigger xmpp_presences_mark_available
  after insert on xmpp_presences referencing new table as new_rows
  for each statement execute function rowgram_mark_available();

create or replace function rowgram_mark_unavailable() returns trigger language plpgsql set search_path from current as $$
begin
  update rowgram_user_presences p set available = false, changed_at = now()
  from old_rows o
  where p.account_id = o.account_id and p.bare_jid = o.bare_jid and p.available
    and not exists (
      select from xmpp_presences x where x.account_id = o.account_id and x.bare_jid = o.bare_jid);
  return null;
end
$$;

create or replace trigger xmpp_presences_mark_unavailable
  after delete on xmpp_presences referencing old table as old_rows
  for each statement execute function rowgram_mark_unavailable();

-- A row that is inserted or changed here is one of rowgram_users; the trigger there names its domain.
create or replace view openfire_users as
  select u.login, u.pass_md5 as pass, u.enabled, u.name, u.email,
    exists (
      select from rowgram_user_presences p join xmpp_accounts a on a.id = p.account_id and a.enabled
      where p.bare_jid = u.login || '@' || u.domain and p.available) as available,
    (select case when bool_or(p.available) then min(p.changed_at) filter (where p.available) else max(p.changed_at) end
      from rowgram_user_presences p join xmpp_accounts a on a.id = p.account_id and a.enabled
      where p.bare_jid = u.login || '@' || u.domain) as available_timestamp
  from rowgram_users u
  where u.domain = (select s.users_domain from rowgram_settings s);

-- Passwords that only the daemon can find (env:, file:) are none here.
create or replace view openfire_accounts_view as
  select lower(split_part(a.acc_jid, '@', 1)) as username, a.acc_pass as password, p.full_name as name, p.email,
    a.id, a.is_default
  from xmpp_accounts a
  cross join rowgram_settings s
  left join xmpp_profiles p on p.account_id = a.id
  where a.enabled and a.acc_pass <> '' and a.acc_pass !~ '^(env|file|sealed):'
    and (s.users_domain = '' or lower(split_part(a.acc_jid, '@', 2)) = s.users_domain);

-- With a barrier: else a function of the reader's own could look at the rows that are left out.
create or replace view openfire_users_view with (security_barrier) as
  select a.username, md5(a.password) as password, a.name, a.email, rowgram_bcrypt(a.password) as bcrypt
  from (
    select distinct on (username) username, password, name, email from openfire_accounts_view
    order by username, is_default desc, id
  ) a
  union all
  select u.login, u.pass_md5, u.name, u.email, u.bcrypt
  from rowgram_users u
  where u.enabled and (u.pass_md5 is not null or u.bcrypt is not null)
    and u.domain = (select s.users_domain from rowgram_settings s)
    and not exists (select from openfire_accounts_view a where a.username = u.login);

-- Openfire asks for all fields at once: who has no name is found by it all the same.
create or replace view openfire_search_view with (security_barrier) as
  select v.username::citext, coalesce(v.name, '')::citext as name, coalesce(v.email, '')::citext as email
  from openfire_users_view v;

create or replace view openfire_groups_view with (security_barrier) as
  select g.name as group_name, g.description from rowgram_groups g
  where g.domain = (select s.users_domain from rowgram_settings s);

create or replace view openfire_group_members_view with (security_barrier) as
  select m.group_name, m.login as username, m.is_admin from rowgram_group_members m
  where m.domain = (select s.users_domain from rowgram_settings s)
    and exists (select from openfire_users_view v where v.username = m.login);

create or replace view openfire_admins_view with (security_barrier) as
  select u.login as username from rowgram_users u
  where u.is_admin and u.domain = (select s.users_domain from rowgram_settings s)
    and exists (select from openfire_users_view v where v.username = u.login);

-- Openfire wants a row, and takes an error for a refusal. The password of an account is not its to change.
create or replace function openfire_set_password(hash text, username text) returns boolean
  language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
begin
  if hash is null or hash !~ '^[0-9a-f]{32}$|^\$2[aby]\$\d\d\$[\w./]{53}$' then
    raise exception 'the hash given for % is of an unknown type', username
      using errcode = 'invalid_parameter_value', hint = 'set jdbcAuthProvider.passwordType to md5 or bcrypt';
  end if;
  update rowgram_users u set
    pass_md5 = case when hash !~ '^\$' then hash end, bcrypt = case when hash ~ '^\$' then hash end,
    scram_sha1 = null, scram_sha256 = null, digest_ha1 = null, digest_ha1b = null, plain = null,
    password_set_at = clock_timestamp()
  where u.login = lower(openfire_set_password.username) and u.enabled
    and u.domain = (select s.users_domain from rowgram_settings s)
    and not exists (select from openfire_accounts_view a where a.username = u.login);
  if not found then
    raise exception 'there is no user % whose password could be changed', username using errcode = 'no_data_found';
  end if;
  return true;
end
$$;
