-- Rooms of others that an account is in.

create table xmpp_rooms (
  id               bigint generated always as identity primary key,
  account_id       bigint not null references xmpp_accounts on delete cascade,
  room_jid         text not null,
  nick             text,
  password         text,
  enabled          boolean not null default true,
  state            text not null default 'pending',
  state_info       text,
  state_changed_at timestamptz not null default now(),
  next_try_at      timestamptz,
  own_nick         text,
  role             text,
  affiliation      text,
  occupants        integer not null default 0,
  subject          text,
  constraint xmpp_rooms_account_id_room_jid_key unique (account_id, room_jid),
  constraint xmpp_rooms_state_check
    check (state in ('pending', 'joining', 'joined', 'left', 'backoff', 'refused'))
) with (fillfactor = 50);

create table xmpp_room_occupants (
  room_id     bigint not null references xmpp_rooms on delete cascade,
  nick        text not null,
  jid         text,
  role        text not null,
  affiliation text not null,
  show        text,
  status      text,
  occupant_id text,
  since       timestamptz not null default now(),
  primary key (room_id, nick)
);

create table xmpp_room_invites (
  id          bigint generated always as identity primary key,
  account_id  bigint not null references xmpp_accounts on delete cascade,
  room_jid    text not null,
  from_jid    text,
  reason      text,
  password    text,
  is_direct   boolean not null default false,
  received_at timestamptz not null default now(),
  answer      text,
  answered_at timestamptz,
  constraint xmpp_room_invites_account_id_room_jid_key unique (account_id, room_jid),
  constraint xmpp_room_invites_answer_check check (answer in ('accept', 'reject'))
);
