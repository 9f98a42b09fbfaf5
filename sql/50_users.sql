-- Users and groups: what a row may hold. No message repeats a verifier, which may be a password by mistake.

create or replace function rowgram_users_domain() returns text language sql stable set search_path from current as $$
  select s.users_domain from rowgram_settings s
$$;

create or replace function rowgram_fold_domain(domain text) returns text language plpgsql immutable as $$
begin
  domain := lower(domain);
  if domain ~ '[[:space:]@/]' then
    -- Not repeated: it may be a password, where the arguments of set_password() were mixed up.
    raise exception 'a domain has no space, @ or /' using errcode = 'invalid_parameter_value';
  end if;
  return domain;
end
$$;

-- Of RFC 7622 §3.3 what keeps two spellings from being two users, and servers from choking.
create or replace function rowgram_fold_login(login text) returns text language plpgsql immutable as $$
declare
  folded constant text := lower(normalize(login, NFC));
begin
  if folded is null or folded = '' or octet_length(folded) > 1023
    or folded ~ '["&''/:<>@[:cntrl:][:space:]\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]' then
    raise exception '% is no login', coalesce(quote_literal(login), 'NULL')
      using errcode = 'invalid_parameter_value',
        hint = 'a login is the part of a JID before the @; \20 stands for a space, \27 for an apostrophe (XEP-0106)';
  end if;
  return folded;
end
$$;

create or replace function rowgram_check_verifiers(of_user rowgram_users) returns void language plpgsql immutable as $$
declare
  kind text;
  verifier text;
  form text;
  has_any boolean := false;
begin
  for kind, verifier, form in values
    ('scram_sha1', of_user.scram_sha1, '^SCRAM-SHA-1\$\d+:[\w+/]+=*\$[\w+/]{27}=:[\w+/]{27}=$'),
    ('scram_sha256', of_user.scram_sha256, '^SCRAM-SHA-256\$\d+:[\w+/]+=*\$[\w+/]{43}=:[\w+/]{43}=$'),
    ('bcrypt', of_user.bcrypt, '^\$2[aby]\$\d\d\$[\w./]{53}$'),
    ('digest_ha1', of_user.digest_ha1, '^[0-9a-f]{32}$'),
    ('digest_ha1b', of_user.digest_ha1b, '^[0-9a-f]{32}$'),
    ('pass', of_user.pass_md5, '^[0-9a-f]{32}$'),
    ('plain', of_user.plain, '.')
  loop
    continue when verifier is null;
    if verifier !~ form then
      raise exception 'what is given as % of % is of no type that belongs there', kind, of_user.login
        using errcode = 'invalid_parameter_value',
          hint = 'call set_password(login, domain, password), or give md5(password) as pass';
    end if;
    has_any := true;
  end loop;
  if not has_any or of_user.pass_md5 = md5('') then
    raise exception '% is to have a password', of_user.login
      using errcode = 'invalid_parameter_value', hint = 'disable who is not to log in';
  end if;
end
$$;

-- Nothing is left for a constraint to refuse, which would print the row.
create or replace function rowgram_check_user() returns trigger language plpgsql set search_path from current as $$
begin
  new.login := rowgram_fold_login(new.login);
  new.domain := coalesce(rowgram_fold_domain(new.domain), rowgram_users_domain());
  new.enabled := coalesce(new.enabled, false);
  new.is_admin := coalesce(new.is_admin, false);
  new.password_set_at := coalesce(new.password_set_at, clock_timestamp());
  new.pass_md5 := lower(new.pass_md5);
  if tg_op = 'UPDATE' then
    if new.login <> old.login then
      raise exception 'the login of % cannot be changed', old.login
        using errcode = 'invalid_parameter_value', hint = 'make another user';
    end if;
    -- An MD5 that comes alone is a new password: the other verifiers are of the old one.
    if new.pass_md5 is distinct from old.pass_md5 and new.password_set_at = old.password_set_at then
      new.scram_sha1 := nullif(new.scram_sha1, old.scram_sha1);
      new.scram_sha256 := nullif(new.scram_sha256, old.scram_sha256);
      new.bcrypt := nullif(new.bcrypt, old.bcrypt);
      new.digest_ha1 := nullif(new.digest_ha1, old.digest_ha1);
      new.digest_ha1b := nullif(new.digest_ha1b, old.digest_ha1b);
      new.plain := nullif(new.plain, old.plain);
      new.password_set_at := clock_timestamp();
    end if;
    if new.domain <> old.domain then
      new.digest_ha1 := nullif(new.digest_ha1, old.digest_ha1);
      new.digest_ha1b := nullif(new.digest_ha1b, old.digest_ha1b);
    end if;
  end if;
  perform rowgram_check_verifiers(new);
  return new;
end
$$;

create or replace trigger rowgram_users_check_user
  before insert or update on rowgram_users
  for each row execute function rowgram_check_user();

create or replace function rowgram_leave_groups() returns trigger language plpgsql set search_path from current as $$
begin
  delete from rowgram_group_members m where m.domain = old.domain and m.login = old.login;
  return null;
end
$$;

create or replace trigger rowgram_users_leave_groups
  after delete on rowgram_users
  for each row execute function rowgram_leave_groups();

create or replace function rowgram_check_group() returns trigger language plpgsql set search_path from current as $$
begin
  new.domain := coalesce(rowgram_fold_domain(new.domain), rowgram_users_domain());
  if tg_table_name = 'rowgram_group_members' then
    new.login := rowgram_fold_login(new.login);
  end if;
  return new;
end
$$;

create or replace trigger rowgram_groups_check_group
  before insert or update on rowgram_groups
  for each row execute function rowgram_check_group();
create or replace trigger rowgram_group_members_check_group
  before insert or update on rowgram_group_members
  for each row execute function rowgram_check_group();

-- Those who came before the domain was known belong to it.
create or replace function rowgram_name_domain() returns trigger language plpgsql set search_path from current as $$
begin
  new.users_domain := coalesce(rowgram_fold_domain(new.users_domain), '');
  update rowgram_users set domain = new.users_domain where domain = '';
  update rowgram_groups set domain = new.users_domain where domain = '';
  return new;
end
$$;

create or replace trigger rowgram_settings_name_domain
  before update of users_domain on rowgram_settings
  for each row when (new.users_domain is distinct from old.users_domain)
  execute function rowgram_name_domain();

-- Definer: who sets a password need not be able to read one.
create or replace function set_password(
  login text, domain text, password text, verifiers text[] default '{scram-sha-1,scram-sha-256,bcrypt,ha1,md5}'
) returns void language plpgsql security definer set search_path from current as $$
#variable_conflict use_column
declare
  who constant text := rowgram_fold_login(set_password.login);
  realm constant text := coalesce(nullif(rowgram_fold_domain(set_password.domain), ''), rowgram_users_domain());
  secret constant text := set_password.password;
  wanted constant text[] := set_password.verifiers;
  known constant text[] := '{scram-sha-1,scram-sha-256,bcrypt,ha1,md5,plain}';
begin
  if realm = '' then
    raise exception 'the domain of % is to be given', who
      using errcode = 'invalid_parameter_value', hint = 'or set users_domain in rowgram_settings';
  elsif secret is null or secret = '' then
    raise exception 'the password of % is empty', who using errcode = 'invalid_parameter_value';
  elsif secret ~ '[[:cntrl:]]' then
    raise exception 'the password of % has a control character', who
      using errcode = 'invalid_parameter_value', hint = 'servers refuse it (RFC 4013 §2.3)';
  elsif wanted is null or not wanted <@ known then
    raise exception '% are no verifiers', array(select unnest(wanted) except select unnest(known))
      using errcode = 'invalid_parameter_value', hint = 'there are ' || array_to_string(known, ', ');
  end if;
  insert into rowgram_users as u (
    login, domain, scram_sha1, scram_sha256, bcrypt, digest_ha1, digest_ha1b, pass_md5, plain
  ) values (
    who, realm,
    case when 'scram-sha-1' = any (wanted) then rowgram_scram_verifier(secret, 'sha1') end,
    case when 'scram-sha-256' = any (wanted) then rowgram_scram_verifier(secret, 'sha256') end,
    case when 'bcrypt' = any (wanted) then rowgram_bcrypt(secret) end,
    case when 'ha1' = any (wanted) then md5(format('%s:%s:%s', who, realm, secret)) end,
    case when 'ha1' = any (wanted) then md5(format('%s@%s:%s:%s', who, realm, realm, secret)) end,
    case when 'md5' = any (wanted) then md5(secret) end,
    case when 'plain' = any (wanted) then secret end)
  on conflict (domain, login) do update set
    scram_sha1 = excluded.scram_sha1, scram_sha256 = excluded.scram_sha256, bcrypt = excluded.bcrypt,
    digest_ha1 = excluded.digest_ha1, digest_ha1b = excluded.digest_ha1b, pass_md5 = excluded.pass_md5,
    plain = excluded.plain, password_set_at = clock_timestamp();
end
$$;
