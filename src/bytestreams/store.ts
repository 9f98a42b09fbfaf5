/** The SQL of the proxy: what is desired of it, and what goes through it. */
import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';
import type { AclRow, LimitsRow } from './access.ts';
import type { EndReason } from './relay/messages.ts';

const streamhost = z.object({
  id: z.number(),
  proxy: z.string(),
  bindAddress: z.string().nullable(),
  port: z.number(),
  publicHost: z.string().nullable(),
  publicPort: z.number().nullable(),
  maxPending: z.number(),
  maxPendingPerAddress: z.number(),
  handshakeTimeoutS: z.number(),
  pendingTimeoutS: z.number(),
  idleTimeoutS: z.number(),
});
export type StreamhostRow = z.infer<typeof streamhost>;

/** Those that are to listen. */
export const selectStreamhosts = (db: DatabasePool): Promise<readonly StreamhostRow[]> =>
  db.any(sql.type(streamhost)`
    select id, proxy, host(bind_address) as "bindAddress", port, public_host as "publicHost",
      public_port as "publicPort", max_pending as "maxPending",
      max_pending_per_address as "maxPendingPerAddress", handshake_timeout_s as "handshakeTimeoutS",
      pending_timeout_s as "pendingTimeoutS", idle_timeout_s as "idleTimeoutS"
    from bytestream_streamhosts
    where enabled
    order by id`);

export type StreamhostState = {
  id: number;
  state: 'off' | 'listening' | 'failed';
  info: string | null;
};

export const updateStreamhostStates = async (
  db: DatabasePool,
  states: StreamhostState[],
): Promise<void> => {
  await db.query(sql.unsafe`
    update bytestream_streamhosts h set
      state = s.state, state_info = s.info,
      state_changed_at = case when h.state = s.state then h.state_changed_at else now() end
    from ${sql.unnest(
      states.map(({ id, state, info }) => [id, state, info]),
      ['int8', 'text', 'text'],
    )} as s (id, state, info)
    where h.id = s.id and (h.state, h.state_info) is distinct from (s.state, s.info)`);
};

const aclRow = z.object({
  proxy: z.string().nullable(),
  role: z.enum(['requester', 'target', 'ip']),
  who: z.string(),
  action: z.enum(['allow', 'deny']),
});

export const selectAcl = (db: DatabasePool): Promise<readonly AclRow[]> =>
  db.any(sql.type(aclRow)`
    select proxy, role, who, action from bytestream_acl order by position, id`);

const limitsRow = z.object({
  proxy: z.string().nullable(),
  who: z.string(),
  maxStreams: z.number().nullable(),
  rateLimit: z.number().nullable(),
  maxBytes: z.number().nullable(),
  maxTimeS: z.number().nullable(),
  quotaBytes: z.number().nullable(),
  quotaPeriod: z.enum(['hour', 'day', 'month']).nullable(),
});

export const selectLimits = (db: DatabasePool): Promise<readonly LimitsRow[]> =>
  db.any(sql.type(limitsRow)`
    select proxy, who, max_streams as "maxStreams", rate_limit as "rateLimit", max_bytes as "maxBytes",
      max_time_s as "maxTimeS", quota_bytes as "quotaBytes", quota_period as "quotaPeriod"
    from bytestream_limits`);

/** Bytes of a user's streams that are written, since then. */
export const selectUsedBytes = (
  db: DatabasePool,
  { proxy, jid, since }: { proxy: string; jid: string; since: Date },
): Promise<number> =>
  db.oneFirst(sql.type(z.object({ used: z.number() }))`
    select coalesce(sum(bytes_up + bytes_down), 0)::float8 as used
    from bytestream_usage
    where proxy = ${proxy} and jid = ${jid} and hour >= ${sql.timestamp(since)}`);

const wanted = z.object({ id: z.string(), rateLimit: z.number().nullable() });

/** What operators want of the streams that this run of the daemon relays: those that are missing are to end. */
export const selectWanted = (
  db: DatabasePool,
  instance: string,
): Promise<readonly z.infer<typeof wanted>[]> =>
  db.any(sql.type(wanted)`
    select id, rate_limit as "rateLimit" from bytestream_streams where instance = ${instance}`);

/** All of a stream; times are ISO 8601. */
export type StreamRecord = {
  id: string;
  proxy: string;
  instance: string;
  sid: string;
  hash: string;
  requester: string;
  target: string;
  requester_address: string;
  target_address: string;
  rate_limit: number | null;
  bytes_up: number;
  bytes_down: number;
  activated_at: string;
  last_byte_at: string;
  /** Null while it is active. */
  ended_at: string | null;
  reason: EndReason | null;
  /** Bare JID of the requester, and its domain. */
  jid: string;
  domain: string;
};

/**
 * Writes streams as they are now. What counts is the difference to what is written, so that a statement
 * whose answer was lost may be sent again.
 */
export const writeStreams = async (db: DatabasePool, records: StreamRecord[]): Promise<void> => {
  await db.query(sql.unsafe`
    with own as materialized (
      select set_config('rowgram.is_accounting', 'on', true) = 'on' as is_set
    ), given as materialized (
      select g.*, coalesce(s.bytes_up, l.bytes_up) as old_up, coalesce(s.bytes_down, l.bytes_down) as old_down,
        s.id is not null as is_live, l.id is not null as is_logged
      from jsonb_to_recordset(${JSON.stringify(records)}::jsonb) as g (
        id uuid, proxy text, instance uuid, sid text, hash text, requester text, target text,
        requester_address inet, target_address inet, rate_limit bigint, bytes_up bigint, bytes_down bigint,
        activated_at timestamptz, last_byte_at timestamptz, ended_at timestamptz, reason text, jid text,
        domain text)
      left join bytestream_streams s using (id)
      left join bytestream_log l using (id)
    ), opened as (
      insert into bytestream_streams (id, proxy, instance, sid, hash, requester, target, requester_address,
        target_address, rate_limit, bytes_up, bytes_down, activated_at, last_byte_at)
      select id, proxy, instance, sid, hash, requester, target, requester_address,
        target_address, rate_limit, bytes_up, bytes_down, activated_at, last_byte_at
      from given where ended_at is null and not is_live and not is_logged
    ), counted as (
      update bytestream_streams s
      set bytes_up = g.bytes_up, bytes_down = g.bytes_down, last_byte_at = g.last_byte_at
      from given g where s.id = g.id and g.ended_at is null
    ), closed as (
      delete from bytestream_streams
      where id in (select id from given where ended_at is not null) and (select is_set from own)
    ), logged as (
      insert into bytestream_log as l (id, proxy, sid, hash, requester, target, requester_address,
        target_address, bytes_up, bytes_down, activated_at, last_byte_at, ended_at, reason)
      select id, proxy, sid, hash, requester, target, requester_address,
        target_address, bytes_up, bytes_down, activated_at, last_byte_at, ended_at, reason
      from given where ended_at is not null
      on conflict (id) do update set bytes_up = excluded.bytes_up, bytes_down = excluded.bytes_down,
        last_byte_at = excluded.last_byte_at, ended_at = excluded.ended_at, reason = excluded.reason
    )
    insert into bytestream_usage as u (proxy, jid, hour, domain, streams, bytes_up, bytes_down)
    select proxy, jid, date_trunc('hour', now(), 'UTC'), domain, count(*) filter (where old_up is null),
      sum(bytes_up - coalesce(old_up, 0)), sum(bytes_down - coalesce(old_down, 0))
    from given where ended_at is not null or is_live or not is_logged
    group by proxy, jid, domain
    on conflict (proxy, jid, hour) do update set streams = u.streams + excluded.streams,
      bytes_up = u.bytes_up + excluded.bytes_up, bytes_down = u.bytes_down + excluded.bytes_down`);
};

/** Logs what other runs of the daemon left at these proxies, which are ours now. */
export const logCrashed = async (
  db: DatabasePool,
  proxies: string[],
  instance: string,
): Promise<void> => {
  await db.query(sql.unsafe`
    with own as materialized (
      select set_config('rowgram.is_accounting', 'on', true) = 'on' as is_set
    ), gone as (
      delete from bytestream_streams
      where proxy = any(${sql.array(proxies, 'text')}) and instance <> ${instance}
        and (select is_set from own)
      returning *
    )
    insert into bytestream_log (id, proxy, sid, hash, requester, target, requester_address, target_address,
      bytes_up, bytes_down, activated_at, last_byte_at, ended_at, reason)
    select id, proxy, sid, hash, requester, target, requester_address, target_address,
      bytes_up, bytes_down, activated_at, last_byte_at, now(), 'crash'
    from gone
    on conflict (id) do nothing`);
};
