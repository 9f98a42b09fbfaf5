-- One table of users for several servers, with verifiers in place of passwords; groups; who is there.

-- SHA-1, HMAC and bcrypt; a LIKE that does not mind the case.
create extension if not exists pgcrypto;
create extension if not exists citext;

alter table rowgram_settings add column users_domain text not null default '';

-- No check constraints: what they refuse is printed whole, with its verifiers. A trigger checks.
create table rowgram_users (
  login           text not null,
  domain          text not null,
  enabled         boolean not null default true,
  name            text,
  email           text,
  is_admin        boolean not null default false,
  scram_sha1      text,
  scram_sha256    text,
  bcrypt          text,
  digest_ha1      text,
  digest_ha1b     text,
  pass_md5        text,
  plain           text,
  password_set_at timestamptz not null default clock_timestamp(),
  primary key (domain, login)
);

create table rowgram_groups (
  domain      text not null,
  name        text not null,
  description text,
  primary key (domain, name)
);

-- A member may be an account, which has no row in rowgram_users.
create table rowgram_group_members (
  domain     text not null,
  group_name text not null,
  login      text not null,
  is_admin   boolean not null default false,
  primary key (domain, group_name, login),
  foreign key (domain, group_name) references rowgram_groups on update cascade on delete cascade
);
create index rowgram_group_members_domain_login_idx on rowgram_group_members (domain, login);

-- Apart from the users: somebody who changes a user holds a lock, and must not hold up the daemon's inbox.
create table rowgram_user_presences (
  account_id bigint not null references xmpp_accounts on delete cascade,
  bare_jid   text not null,
  available  boolean not null,
  changed_at timestamptz not null default now(),
  primary key (account_id, bare_jid)
);
create index rowgram_user_presences_bare_jid_idx on rowgram_user_presences (bare_jid);

create index xmpp_accounts_username_idx on xmpp_accounts (lower(split_part(acc_jid, '@', 1)));
