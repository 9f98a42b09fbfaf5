-- Contacts and presence. xmpp_contacts is what people want, xmpp_roster_items what it last had in common with the
-- server: of three versions, these two and the server's present one, it can be told who changed what, also
-- when both did while they were apart. What the server says waits in `pushed` until it is merged: no one's
-- lock on a contact may hold up what is received.

create table xmpp_contacts (
  id               bigint generated always as identity primary key,
  account_id       bigint not null references xmpp_accounts on delete cascade,
  jid              text not null,
  name             text,
  groups           text[] not null default '{}',
  subscribe        boolean not null default true,
  allow            boolean,
  state            text not null default 'pending',
  state_info       text,
  state_changed_at timestamptz not null default now(),
  subscription     text not null default 'none',
  ask              text,
  refused_at       timestamptz,
  constraint xmpp_contacts_account_id_jid_key unique (account_id, jid),
  constraint xmpp_contacts_state_check check (state in ('pending', 'stored', 'failed')),
  constraint xmpp_contacts_subscription_check check (subscription in ('none', 'to', 'from', 'both'))
);
create index xmpp_contacts_pending_idx on xmpp_contacts (account_id) where state = 'pending';

create table xmpp_roster_items (
  account_id   bigint not null references xmpp_accounts on delete cascade,
  jid          text not null,
  account_jid  text not null,
  is_common    boolean not null default false,
  name         text,
  groups       text[] not null default '{}',
  approved     boolean not null default false,
  pushed       jsonb,
  primary key (account_id, jid)
);
create index xmpp_roster_items_pushed_idx on xmpp_roster_items (account_id) where pushed is not null;

create table xmpp_subscription_requests (
  account_id   bigint not null references xmpp_accounts on delete cascade,
  jid          text not null,
  status       text,
  requested_at timestamptz not null default now(),
  answer       text,
  answered_at  timestamptz,
  primary key (account_id, jid),
  constraint xmpp_subscription_requests_answer_check check (answer in ('accept', 'reject'))
);
create index xmpp_subscription_requests_answer_idx on xmpp_subscription_requests (account_id)
  where answer is not null and answered_at is null;

create table xmpp_presences (
  account_id  bigint not null references xmpp_accounts on delete cascade,
  jid         text not null,
  bare_jid    text not null,
  show        text,
  status      text,
  priority    smallint not null default 0,
  avatar_hash text,
  since       timestamptz not null default now(),
  primary key (account_id, jid)
);
create index xmpp_presences_bare_jid_idx on xmpp_presences (bare_jid);

create table xmpp_directed_presences (
  account_id       bigint not null references xmpp_accounts on delete cascade,
  jid              text not null,
  show             text,
  status           text,
  state            text not null default 'pending',
  state_info       text,
  state_changed_at timestamptz not null default now(),
  primary key (account_id, jid),
  constraint xmpp_directed_presences_show_check check (show in ('chat', 'away', 'xa', 'dnd')),
  constraint xmpp_directed_presences_state_check check (state in ('pending', 'sent', 'failed'))
);
create index xmpp_directed_presences_pending_idx on xmpp_directed_presences (account_id) where state = 'pending';

create table xmpp_profiles (
  account_id       bigint primary key references xmpp_accounts on delete cascade,
  full_name        text,
  nickname         text,
  email            text,
  url              text,
  description      text,
  avatar           bytea,
  state            text not null default 'pending',
  state_info       text,
  state_changed_at timestamptz not null default now(),
  avatar_hash      text,
  constraint xmpp_profiles_state_check check (state in ('pending', 'published', 'failed'))
);

create table xmpp_contact_profiles (
  account_id       bigint not null references xmpp_accounts on delete cascade,
  jid              text not null,
  state            text not null default 'pending',
  state_info       text,
  state_changed_at timestamptz not null default now(),
  full_name        text,
  nickname         text,
  email            text,
  url              text,
  description      text,
  avatar           bytea,
  avatar_type      text,
  avatar_hash      text,
  primary key (account_id, jid),
  constraint xmpp_contact_profiles_state_check check (state in ('pending', 'fetched', 'failed'))
);
create index xmpp_profiles_pending_idx on xmpp_profiles (account_id) where state = 'pending';
create index xmpp_contact_profiles_pending_idx on xmpp_contact_profiles (account_id) where state = 'pending';
