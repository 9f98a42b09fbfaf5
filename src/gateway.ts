/**
 * What a gateway is, and what runs it. A gateway makes the network match its tables: `sync` reads them
 * and acts on the difference, whatever woke it, so that a missed hint and a first start are one path.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { DatabasePool } from 'slonik';
import { createDatabasePool, type DatabaseAddress } from './db/connect.ts';
import { createListener, type Listener } from './db/listen.ts';
import { requireMigrated } from './db/migrate.ts';
import { createOwnership, type Owner, type Ownership } from './db/ownership.ts';
import { maintainPartitions } from './db/partitions.ts';
import { ConfigError, errorText } from './errors.ts';
import type { Log } from './log.ts';

export type Gateway = {
  name: string;
  /** Tables whose change calls `sync`. */
  tables: string[];
  /** Any table has changed; for what is cheaper than a sync. */
  onTableChange(table: string): void;
  /** Channels of its own, each with what to do. */
  channels: Record<string, (payload: string) => void>;
  /** The shard of the link that serves rows naming none; null when there is none. */
  defaultLinkShard(): number | null;
  /** Makes the network match the tables, for the shards held; never called twice at once. */
  sync(): Promise<void>;
  /** The database is out of reach: every link is dropped at once, without a word. */
  drop(): void;
  /** Gives the links of one shard up in order, since another daemon is to have it. */
  release(shard: number): Promise<void>;
  /** Takes no more work, lets what is under way finish for at most `timeoutMs`, closes all. */
  stop(timeoutMs: number): Promise<void>;
};

/** What every gateway is made from. */
export type GatewayParts = {
  address: DatabaseAddress;
  db: DatabasePool;
  ownership: Ownership;
  log: Log;
  /** Of the program. */
  version: string;
};

export type Runner = {
  /** Ends all in order: stop, release, close. */
  stop(): Promise<void>;
};

export type RunnerOptions = {
  address: DatabaseAddress;
  version: string;
  log: Log;
  create: ((parts: GatewayParts) => Gateway)[];
};

const SYNC_MS = 30_000;
const MAINTAIN_MS = 3_600_000;
const RETRY_MS = 500;
const STOP_MS = 5_000;

/** Runs `work` when asked, once more if asked meanwhile, and by itself every `everyMs`. */
const createRepeater = (
  everyMs: number,
  work: () => Promise<void>,
  onError: (error: unknown) => void,
) => {
  let running: Promise<void> | null = null;
  let isWanted = false;
  let isClosed = false;
  const run = async () => {
    while (isWanted && !isClosed) {
      isWanted = false;
      await work().catch(async (error: unknown) => {
        onError(error);
        isWanted = true;
        await delay(RETRY_MS);
      });
    }
    running = null;
  };
  const ask = () => {
    isWanted = true;
    if (!isClosed) running ??= run();
  };
  const timer = setInterval(ask, everyMs);
  return {
    ask,
    async close() {
      isClosed = true;
      clearInterval(timer);
      await running;
    },
  };
};

const maintain = async (db: DatabasePool, log: Log): Promise<void> => {
  for (const table of await maintainPartitions(db)) log.info({ table }, 'partition dropped');
};

/** Waits until the database answers, and says once that it does not. */
const untilReached = async <T>(
  open: () => Promise<T>,
  log: Log,
  signal: AbortSignal,
): Promise<T> => {
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await open();
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      if (isFirst) log.error({ reason: errorText(error) }, 'database not reached; trying on');
      await delay(RETRY_MS, undefined, { signal });
    }
  }
};

/** Starts the gateways; returns once the database was reached, or rejects when `signal` aborts. */
export const startGateways = async (
  { address, version, log, create }: RunnerOptions,
  signal: AbortSignal,
): Promise<Runner> => {
  const db = await untilReached(() => createDatabasePool(address), log, signal);
  await untilReached(() => requireMigrated(address), log, signal);
  const repeaters: ReturnType<typeof createRepeater>[] = [];
  const syncAll = () => {
    for (const repeater of repeaters) repeater.ask();
  };
  const open = () => createListener(address, log, syncAll);
  const listener: Listener = await untilReached(open, log, signal);
  const ownership = createOwnership({ address, version, log });
  const gateways = create.map((build) => build({ address, db, ownership, log, version }));
  const owners: Owner[] = [];
  for (const gateway of gateways) {
    const onError = (err: unknown) => log.debug({ err, gateway: gateway.name }, 'sync put off');
    const repeater = createRepeater(SYNC_MS, () => gateway.sync(), onError);
    repeaters.push(repeater);
    owners.push({
      gateway: gateway.name,
      defaultLinkShard: () => gateway.defaultLinkShard(),
      release: (shard) => gateway.release(shard),
      onChange() {
        if (ownership.epochs(gateway.name).size === 0) gateway.drop();
        repeater.ask();
      },
    });
    for (const [channel, onHint] of Object.entries(gateway.channels)) {
      await listener.on(channel, onHint);
    }
  }
  const control = (payload: string) => {
    for (const [index, gateway] of gateways.entries()) {
      if (gateway.tables.includes(payload)) repeaters[index]?.ask();
      gateway.onTableChange(payload);
    }
  };
  await listener.on('notify_table_change', control);
  ownership.start(owners);
  const onError = (err: unknown) => log.debug({ err }, 'maintenance put off');
  const maintenance = createRepeater(MAINTAIN_MS, () => maintain(db, log), onError);
  maintenance.ask();
  return {
    async stop() {
      await maintenance.close();
      await Promise.all(repeaters.map((repeater) => repeater.close()));
      await Promise.all(gateways.map((gateway) => gateway.stop(STOP_MS)));
      await listener.close();
      await ownership.close();
      await db.end();
    },
  };
};
