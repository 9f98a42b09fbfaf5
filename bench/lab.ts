/** Where it is measured: a server, a database for each thing that is compared, and the processes. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { connect, type DatabaseAddress } from '../src/db/connect.ts';
import { startEmbedded } from '../src/db/embedded.ts';
import { type Child, startChild } from './child.ts';
import type { Engine } from './engines/engine.ts';

/** Fewer rows and rounds, for a first look. */
export type Scale = 'full' | 'quick';

export type Lab = {
  scale: Scale;
  /** For files; removed at the end. */
  dir: string;
  say(text: string): void;
  createDatabase(): Promise<DatabaseAddress>;
  /** Whatever it is, it is closed with the lab. */
  use<Resource extends { close(): Promise<void> }>(resource: Resource): Resource;
  close(): Promise<void>;
};

type Server = { url: string; stop(): Promise<void> };

/** An engine at work: its database, a connection there, and the process that consumes. */
export type Bench = { engine: Engine; address: DatabaseAddress; client: pg.Client; child: Child };

const POLL_MS = 2;
/** Nothing takes as long, so that a bench ends rather than hangs. */
const PATIENCE_MS = 240_000;

/** The same server, another database. */
const withDatabase = (url: string, name: string): string =>
  url.replace(/^([a-z]+:\/\/[^/]*)\/?[^?]*/, `$1/${name}`);

const openServer = async (databaseUrl: string | null, dir: string): Promise<Server> => {
  if (databaseUrl) return { url: databaseUrl, stop: async () => {} };
  return startEmbedded({ dir: join(dir, 'postgres') });
};

export const openLab = async (
  databaseUrl: string | null,
  scale: Scale,
  say: (text: string) => void,
): Promise<Lab> => {
  const dir = await mkdtemp(join(tmpdir(), 'rowgram-bench-'));
  // The server may run as another user.
  await chmod(dir, 0o711);
  const server = await openServer(databaseUrl, dir);
  const admin = await connect({ url: server.url, schema: 'public' }, 'bench');
  const names: string[] = [];
  const resources: { close(): Promise<void> }[] = [];
  return {
    scale,
    dir,
    say,
    async createDatabase() {
      const name = `rowgram_bench_${randomBytes(6).toString('hex')}`;
      await admin.query(`create database ${name}`);
      names.push(name);
      return { url: withDatabase(server.url, name), schema: 'public' };
    },
    use(resource) {
      resources.push(resource);
      return resource;
    },
    async close() {
      for (const resource of resources.reverse()) {
        // After a failure some have ended already; the rest is to be closed all the same.
        await resource.close().catch(() => {});
      }
      for (const name of names) await admin.query(`drop database ${name} with (force)`);
      await admin.end();
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};

/** @param install what makes the engine's tables, where they are to differ from its own */
export const openBench = async (
  lab: Lab,
  engine: Engine,
  install: Engine['install'] = engine.install,
): Promise<Bench> => {
  const address = await lab.createDatabase();
  await install(address);
  const client = await connect(address, 'bench');
  lab.use({ close: () => client.end() });
  const child = lab.use(startChild(engine.name, address.url));
  return { engine, address, client, child };
};

/** Waits until every row is finished. */
export const awaitEmpty = ({ engine, client }: Bench): Promise<void> =>
  until(client, engine.isEmpty);

/** Waits until a query for one boolean says so. */
export const until = async (client: pg.Client, query: string): Promise<void> => {
  const giveUpAt = Date.now() + PATIENCE_MS;
  while (Date.now() < giveUpAt) {
    const { rows } = await client.query<Record<string, boolean>>(query);
    if (Object.values(rows[0] ?? {})[0]) return;
    await delay(POLL_MS);
  }
  throw new Error(`not within ${PATIENCE_MS / 1_000} s: ${query}`);
};

/** Lets no run pay for what the one before it has left behind. */
export const tidy = async ({ client }: Bench): Promise<void> => {
  await client.query('vacuum analyze');
  // Not everybody may, and then all engines go without.
  await client.query('checkpoint').catch(() => {});
};
