/**
 * Who holds which shard. A daemon owns a shard while its control connection holds the shard's session
 * advisory lock, so a killed daemon's shards are free at once. Its heartbeat on the same connection tells
 * it whether it may still speak: a daemon that was stopped for long finds its connection ended by others.
 */
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText } from '../errors.ts';
import type { Log } from '../log.ts';
import { connect, type DatabaseAddress } from './connect.ts';

export const SHARDS = 64;
/** Holds the rows that name no link; owned by whoever holds the default link. */
export const DEFAULT_SHARD = 64;

export const shardOf = (linkId: number | null): number =>
  linkId === null ? DEFAULT_SHARD : ((linkId % SHARDS) + SHARDS) % SHARDS;

/** What a gateway tells the ownership, and is told by it. */
export type Owner = {
  gateway: string;
  /** The shard of the default link; null when there is none. */
  defaultLinkShard(): number | null;
  /** Shards came or went, or the default one did; called after every change. */
  onChange(): void;
  /** Gives the shard's links up: flush, close. It is unlocked afterwards. */
  release(shard: number): Promise<void>;
};

export type Ownership = {
  /** Shards held now, with their epochs. */
  epochs(gateway: string): ReadonlyMap<number, number>;
  /**
   * Whether the control connection has answered lately. When not, nothing may be written to the network:
   * another daemon may have taken over.
   */
  isFresh(): boolean;
  /** The default link's shard may have changed. */
  poke(): void;
  /** Begins to take shards for the owners, and goes on until closed. */
  start(owners: Owner[]): void;
  /** Gives all up in order; links must be closed before. */
  close(): Promise<void>;
};

const TICK_MS = 400;
const BEAT_MS = 2_000;
/** Less than STALE_AFTER by more than a beat: we fall silent before others may end us. */
const FRESH_MS = 7_000;
const STALE_AFTER = '10 s';
const RETRY_MS = 250;

type Peer = { id: number; backend: number; isAlive: boolean; isStale: boolean; gateways: string[] };

const REGISTER = `
  insert into rowgram_daemons (host, pid, version, gateways, backend)
  values ($1, $2, $3, $4, pg_backend_pid())
  returning id, pg_advisory_lock('rowgram_daemons'::regclass::oid::integer, id)`;

const SELECT_PEERS = `
  select d.id, d.backend, d.gateways, d.seen_at < now() - interval '${STALE_AFTER}' as "isStale",
    exists (
      select from pg_locks l
      where l.locktype = 'advisory' and l.granted and l.objid = d.id
        and l.classid = 'rowgram_daemons'::regclass and l.database = (
          select oid from pg_database where datname = current_database())) as "isAlive"
  from rowgram_daemons d
  order by d.id`;

const SELECT_FREE_SHARDS = `
  select s.shard from rowgram_shards s
  where s.gateway = $1 and s.shard < ${SHARDS} and not exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objid = s.id
      and l.classid = 'rowgram_shards'::regclass and l.database = (
        select oid from pg_database where datname = current_database()))
  order by random()`;

const CREATE_SHARDS = `
  insert into rowgram_shards (gateway, shard)
  select $1, s from generate_series(0, ${SHARDS}) s
  on conflict (gateway, shard) do nothing`;

// The lock is tried on the rows that the inner query has picked, and on no other.
const TAKE_SHARDS = `
  update rowgram_shards s set epoch = s.epoch + 1, daemon_id = $3, taken_at = now()
  from (
    select id, pg_try_advisory_lock('rowgram_shards'::regclass::oid::integer, id) as is_mine
    from (select id from rowgram_shards where gateway = $1 and shard = any($2::integer[]) offset 0) picked
    offset 0) taken
  where taken.is_mine and s.id = taken.id
  returning s.shard, s.epoch`;

const RELEASE_SHARD = `
  select pg_advisory_unlock('rowgram_shards'::regclass::oid::integer, id)
  from rowgram_shards where gateway = $1 and shard = $2`;

/** How many of the shards fall to one of the daemons, by its place among them. */
export const fairShare = (place: number, daemons: number): number =>
  Math.floor(SHARDS / daemons) + (place < SHARDS % daemons ? 1 : 0);

type Parts = { address: DatabaseAddress; version: string; log: Log };

/** One life of the control connection, from its opening to its loss. */
const createTenure = async (
  { address, version }: Parts,
  owners: Owner[],
  onLost: (error: unknown) => void,
) => {
  const client = await connect(address, 'control', { queryTimeoutMs: 4_000 });
  const held = new Map(owners.map(({ gateway }) => [gateway, new Map<number, number>()]));
  let daemonId = 0;
  let beatAt = 0;
  let isLost = false;

  const lose = (error: unknown) => {
    if (isLost) return;
    isLost = true;
    for (const shards of held.values()) shards.clear();
    onLost(error);
    client.end().catch(() => {});
  };
  client.on('end', () => lose(new Error('the control connection was ended')));

  const isFresh = () => !isLost && performance.now() - beatAt < FRESH_MS;

  const beat = async () => {
    const sentAt = performance.now();
    await client.query('update rowgram_daemons set seen_at = now() where id = $1', [daemonId]);
    const wasFresh = isFresh();
    beatAt = sentAt;
    // Who fell silent may speak again.
    if (!wasFresh) for (const owner of owners) owner.onChange();
  };

  const register = async () => {
    // The server must notice a vanished daemon as soon as the daemon notices a vanished server.
    await client.query(`set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2;
      set tcp_keepalives_count = 2; set tcp_user_timeout = 10000`);
    const gateways = owners.map(({ gateway }) => gateway);
    const sentAt = performance.now();
    const { rows } = await client.query<{ id: number }>(REGISTER, [
      hostname(),
      process.pid,
      version,
      gateways,
    ]);
    daemonId = rows[0]?.id ?? 0;
    beatAt = sentAt;
    for (const gateway of gateways) await client.query(CREATE_SHARDS, [gateway]);
  };

  /** Removes the dead, ends those that have not been heard of, and returns the living. */
  const selectPeers = async (): Promise<Peer[]> => {
    const { rows } = await client.query<Peer>({ name: 'peers', text: SELECT_PEERS });
    for (const peer of rows) {
      if (!peer.isAlive) {
        await client.query('delete from rowgram_daemons where id = $1', [peer.id]);
      } else if (peer.isStale && peer.id !== daemonId) {
        // Refused when the other daemon logs in as another role: then its lock waits for TCP to notice.
        await client.query('select pg_terminate_backend($1)', [peer.backend]).catch(() => {});
      }
    }
    return rows.filter(({ isAlive }) => isAlive);
  };

  const take = async (gateway: string, shards: number[]): Promise<boolean> => {
    if (shards.length === 0) return false;
    const { rows } = await client.query<{ shard: number; epoch: number }>({
      name: 'take',
      text: TAKE_SHARDS,
      values: [gateway, shards, daemonId],
    });
    for (const { shard, epoch } of rows) held.get(gateway)?.set(shard, epoch);
    return rows.length > 0;
  };

  const release = async (owner: Owner, shard: number) => {
    // Held until the last result is written under its epoch.
    await owner.release(shard);
    held.get(owner.gateway)?.delete(shard);
    await client.query(RELEASE_SHARD, [owner.gateway, shard]);
  };

  const balance = async (owner: Owner, peers: Peer[]): Promise<boolean> => {
    const shards = held.get(owner.gateway) ?? new Map<number, number>();
    const runners = peers.filter(({ gateways }) => gateways.includes(owner.gateway));
    const place = Math.max(
      0,
      runners.findIndex(({ id }) => id === daemonId),
    );
    const share = fairShare(place, Math.max(1, runners.length));
    const own = [...shards.keys()].filter((shard) => shard < SHARDS);
    if (own.length > share) {
      // One at a time, so that each link is gone for as short as can be.
      await release(owner, own[0] ?? 0);
      return true;
    }
    if (own.length === share) return false;
    const { rows } = await client.query<{ shard: number }>({
      name: 'free',
      text: SELECT_FREE_SHARDS,
      values: [owner.gateway],
    });
    const wanted = rows.map(({ shard }) => shard).slice(0, share - own.length);
    return take(owner.gateway, wanted);
  };

  /** The default shard goes where the default link is. */
  const followDefault = async (owner: Owner): Promise<boolean> => {
    const shards = held.get(owner.gateway);
    const linkShard = owner.defaultLinkShard();
    const isWanted = linkShard !== null && shards?.has(linkShard) === true;
    const isHeld = shards?.has(DEFAULT_SHARD) === true;
    if (isWanted && !isHeld) return take(owner.gateway, [DEFAULT_SHARD]);
    if (isHeld && !isWanted) {
      await release(owner, DEFAULT_SHARD);
      return true;
    }
    return false;
  };

  const tick = async () => {
    if (performance.now() - beatAt > BEAT_MS) await beat();
    const peers = await selectPeers();
    for (const owner of owners) {
      const hasMoved = await balance(owner, peers);
      const hasFollowed = await followDefault(owner);
      if ((hasMoved || hasFollowed) && !isLost) owner.onChange();
    }
  };

  return {
    held,
    register,
    tick,
    lose,
    isFresh,
    isLost: () => isLost,
    async close() {
      isLost = true;
      await client.query('delete from rowgram_daemons where id = $1', [daemonId]).catch(() => {});
      await client.end();
    },
  };
};

const NONE: ReadonlyMap<number, number> = new Map();

/** Keeps a control connection for as long as it runs; each loss costs all shards, at once. */
export const createOwnership = (parts: Parts): Ownership => {
  const { log } = parts;
  let owners: Owner[] = [];
  let running: Promise<void> = Promise.resolve();
  const stopped = new AbortController();
  let tenure: Awaited<ReturnType<typeof createTenure>> | null = null;
  let poked = Promise.withResolvers<void>();

  const onLost = (error: unknown) => {
    log.error({ reason: errorText(error) }, 'database lost; links are closed until it is back');
    for (const owner of owners) owner.onChange();
  };

  const live = async () => {
    tenure = await createTenure(parts, owners, onLost);
    await tenure.register();
    log.info('database reached');
    while (!stopped.signal.aborted && !tenure.isLost()) {
      await tenure.tick();
      await Promise.race([delay(TICK_MS), poked.promise]);
      poked = Promise.withResolvers<void>();
    }
  };

  const run = async () => {
    while (!stopped.signal.aborted) {
      await live().catch((error: unknown) => {
        if (tenure) tenure.lose(error);
        else log.debug({ err: error }, 'database not reached');
      });
      if (stopped.signal.aborted) return;
      tenure = null;
      await delay(RETRY_MS, undefined, { signal: stopped.signal }).catch(() => {});
    }
  };

  return {
    start(given) {
      owners = given;
      running = run();
    },
    epochs: (gateway) => tenure?.held.get(gateway) ?? NONE,
    isFresh: () => tenure?.isFresh() === true,
    poke: () => poked.resolve(),
    async close() {
      stopped.abort();
      poked.resolve();
      await running;
      await tenure?.close();
    },
  };
};
