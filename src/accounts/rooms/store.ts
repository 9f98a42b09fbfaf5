/** The SQL of rooms that accounts are in, and of invitations to rooms. */
import type pg from 'pg';
import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import type { Occupant } from './changeRoom.ts';
import type { Invite } from './invite.ts';

const room = z.object({
  id: z.number(),
  roomJid: z.string(),
  nick: z.string().nullable(),
  password: z.string().nullable(),
  enabled: z.boolean(),
  state: z.enum(['pending', 'joining', 'joined', 'left', 'backoff', 'refused']),
  stateInfo: z.string().nullable(),
  ownNick: z.string().nullable(),
});
export type RoomRow = z.infer<typeof room>;

export const selectRooms = (db: DatabasePool, accountId: number): Promise<readonly RoomRow[]> =>
  db.any(sql.type(room)`
    select id, room_jid as "roomJid", nick, password, enabled, state, state_info as "stateInfo",
      own_nick as "ownNick"
    from xmpp_rooms where account_id = ${accountId} order by id`);

/** Rooms that the daemon is in, or tries to be. */
export type LiveRoom = { id: number; accountId: number };

/** Accounts whose rooms or invitations are not as their rows want them; `live` are those of deleted rows, too. */
export const selectBehind = async (
  db: DatabasePool,
  live: readonly LiveRoom[],
): Promise<readonly number[]> =>
  db.anyFirst(sql.type(z.object({ accountId: z.number() }))`
    select r.account_id as "accountId" from xmpp_rooms r
    where r.state = 'pending' or (not r.enabled and r.state <> 'left')
    union
    select i.account_id from xmpp_room_invites i where i.answer is not null and i.answered_at is null
    union
    select l.account_id
    from ${sql.unnest(
      live.map(({ id, accountId }) => [id, accountId]),
      ['int8', 'int8'],
    )} as l (id, account_id)
    where not exists (select from xmpp_rooms r where r.id = l.id and r.account_id = l.account_id)`);

const position = z.object({ archiveId: z.string().nullable(), secondsAgo: z.number() });
/** Up to where the account has seen what was said in a room. */
export type Position = z.infer<typeof position>;

export const selectPosition = (
  db: DatabasePool,
  accountId: number,
  roomJid: string,
): Promise<Position | null> =>
  db.maybeOne(sql.type(position)`
    select archive_id as "archiveId", extract(epoch from now() - read_at)::float8 as "secondsAgo"
    from xmpp_archives where account_id = ${accountId} and jid = ${roomJid}`);

const seen = z.object({ from: z.string(), id: z.string().nullable(), body: z.string().nullable() });
export type Seen = z.infer<typeof seen>;

/** The last messages to all of a room that gives them no ids, to know them by when it tells them again. */
export const selectSeen = (
  db: DatabasePool,
  accountId: number,
  roomJid: string,
): Promise<readonly Seen[]> =>
  db.any(sql.type(seen)`
    select last.message_from as "from", last.message_id as id, last.message_body as body
    from (
      select message_from, message_id, message_body, message_type from xmpp_rx_queue
      where account_id = ${accountId} order by id desc limit 1000) last
    where last.message_type = 'groupchat' and split_part(last.message_from, '/', 1) = ${roomJid}`);

const answered = z.object({
  id: z.number(),
  roomJid: z.string(),
  from: z.string().nullable(),
  password: z.string().nullable(),
  isDirect: z.boolean(),
  answer: z.enum(['accept', 'reject']),
});
export type AnsweredInvite = z.infer<typeof answered>;

export const selectAnswered = (
  db: DatabasePool,
  accountId: number,
): Promise<readonly AnsweredInvite[]> =>
  db.any(sql.type(answered)`
    select id, room_jid as "roomJid", from_jid as "from", password, is_direct as "isDirect", answer
    from xmpp_room_invites
    where account_id = ${accountId} and answer is not null and answered_at is null`);

// Below, what runs in the inbox's transaction, in the order of what is received.

export type RoomState = {
  state: 'joining' | 'left' | 'backoff' | 'refused';
  info: string | null;
  /** Milliseconds; null for no next try. */
  afterMs: number | null;
};

/** The account is not in the room: nobody is there as far as it can see. */
export const updateAbsent = async (
  client: pg.Client,
  id: number,
  { state, info, afterMs }: RoomState,
): Promise<void> => {
  await client.query({
    name: 'delete_room_occupants',
    text: 'delete from xmpp_room_occupants where room_id = $1',
    values: [id],
  });
  // The nick is kept while it may be that of the account again: its own messages are known by it.
  await client.query({
    name: 'update_room_absent',
    text: `
      update xmpp_rooms set state = $2, state_info = $3,
        state_changed_at = case when state = $2 then state_changed_at else now() end,
        next_try_at = now() + make_interval(secs => $4::float8 / 1000), role = null, affiliation = null,
        occupants = 0, own_nick = case when $2 in ('joining', 'backoff') then own_nick end
      where id = $1`,
    values: [id, state, info, afterMs],
  });
};

/** All rooms of an account that is not online for now. */
export const updateAllAbsent = async (client: pg.Client, accountId: number): Promise<void> => {
  await client.query({
    name: 'delete_all_room_occupants',
    text: `
      delete from xmpp_room_occupants o using xmpp_rooms r
      where r.id = o.room_id and r.account_id = $1`,
    values: [accountId],
  });
  await client.query({
    name: 'update_rooms_absent',
    text: `
      update xmpp_rooms set state = 'pending', state_info = 'the account is not online',
        state_changed_at = now(), next_try_at = null, role = null, affiliation = null, occupants = 0
      where account_id = $1 and state in ('joining', 'joined', 'backoff')`,
    values: [accountId],
  });
};

export const upsertOccupant = async (
  client: pg.Client,
  roomId: number,
  { nick, jid, role, affiliation, show, status, occupantId }: Occupant,
): Promise<void> => {
  await client.query({
    name: 'upsert_room_occupant',
    text: `
      insert into xmpp_room_occupants (room_id, nick, jid, role, affiliation, show, status, occupant_id)
      select r.id, $2, $3, $4, $5, $6, $7, $8 from xmpp_rooms r where r.id = $1
      on conflict (room_id, nick) do update set jid = excluded.jid, role = excluded.role,
        affiliation = excluded.affiliation, show = excluded.show, status = excluded.status,
        occupant_id = excluded.occupant_id`,
    values: [roomId, nick, jid, role, affiliation, show, status, occupantId],
  });
};

export const deleteOccupant = async (
  client: pg.Client,
  roomId: number,
  nick: string,
): Promise<void> => {
  await client.query({
    name: 'delete_room_occupant',
    text: 'delete from xmpp_room_occupants where room_id = $1 and nick = $2',
    values: [roomId, nick],
  });
};

/** The presence of the new nick follows; who it was stays known since when. */
export const updateOccupantNick = async (
  client: pg.Client,
  roomId: number,
  { from, to }: { from: string; to: string },
): Promise<void> => {
  await deleteOccupant(client, roomId, to);
  await client.query({
    name: 'update_room_occupant_nick',
    text: 'update xmpp_room_occupants set nick = $3 where room_id = $1 and nick = $2',
    values: [roomId, from, to],
  });
};

export const updateOccupants = async (client: pg.Client, roomId: number): Promise<void> => {
  await client.query({
    name: 'update_room_occupants',
    text: `
      update xmpp_rooms set occupants = (select count(*) from xmpp_room_occupants where room_id = $1)
      where id = $1`,
    values: [roomId],
  });
};

/** How the account is in a room; null for a role and an affiliation that are as they were. */
export type Own = { nick: string; role: string | null; affiliation: string | null };

/** @param info what is to be said though the account is in */
export const updateJoined = async (
  client: pg.Client,
  roomId: number,
  { nick, role, affiliation }: Own,
  info: string | null,
): Promise<void> => {
  await client.query({
    name: 'update_room_joined',
    text: `
      update xmpp_rooms set state = 'joined', state_info = $5, next_try_at = null,
        state_changed_at = case when state = 'joined' then state_changed_at else now() end,
        own_nick = $2, role = coalesce($3, role), affiliation = coalesce($4, affiliation),
        occupants = (select count(*) from xmpp_room_occupants where room_id = $1)
      where id = $1`,
    values: [roomId, nick, role, affiliation, info],
  });
};

export const updateSubject = async (
  client: pg.Client,
  roomId: number,
  subject: string,
): Promise<void> => {
  await client.query({
    name: 'update_room_subject',
    text: `update xmpp_rooms set subject = nullif($2, '') where id = $1`,
    values: [roomId, subject],
  });
};

/** @param archiveId null leaves the last one: a room that gives no ids, or one that is still empty */
export const upsertPosition = async (
  client: pg.Client,
  accountId: number,
  roomJid: string,
  archiveId: string | null,
): Promise<void> => {
  await client.query({
    name: 'upsert_room_position',
    text: `
      insert into xmpp_archives as a (account_id, jid, archive_id) values ($1, $2, $3)
      on conflict (account_id, jid) do update set
        archive_id = coalesce(excluded.archive_id, a.archive_id), read_at = now()`,
    values: [accountId, roomJid, archiveId],
  });
};

export const deletePosition = async (
  client: pg.Client,
  accountId: number,
  roomJid: string,
): Promise<void> => {
  await client.query({
    name: 'delete_room_position',
    text: 'delete from xmpp_archives where account_id = $1 and jid = $2',
    values: [accountId, roomJid],
  });
};

export const upsertInvite = async (
  client: pg.Client,
  accountId: number,
  { roomJid, from, reason, password, isDirect }: Invite,
): Promise<void> => {
  await client.query({
    name: 'upsert_room_invite',
    text: `
      insert into xmpp_room_invites (account_id, room_jid, from_jid, reason, password, is_direct)
      values ($1, $2, $3, $4, $5, $6)
      on conflict (account_id, room_jid) do update set from_jid = excluded.from_jid,
        reason = excluded.reason, password = excluded.password, is_direct = excluded.is_direct,
        received_at = now(), answer = null`,
    values: [accountId, roomJid, from, reason, password, isDirect],
  });
};

export const updateAnswered = async (client: pg.Client, id: number): Promise<void> => {
  await client.query('update xmpp_room_invites set answered_at = now() where id = $1', [id]);
};

/** The account is to be in the room. */
export const upsertRoom = async (
  client: pg.Client,
  accountId: number,
  { roomJid, password }: Pick<Invite, 'roomJid' | 'password'>,
): Promise<void> => {
  await client.query({
    name: 'upsert_room',
    text: `
      insert into xmpp_rooms as r (account_id, room_jid, password) values ($1, $2, $3)
      on conflict (account_id, room_jid) do update set
        enabled = true, password = coalesce(excluded.password, r.password)`,
    values: [accountId, roomJid, password],
  });
};
