/** Runs the embedded PostgreSQL: a server of our own for when there is no DATABASE_URL. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, rename, rmdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ConfigError, errorText } from '../errors.ts';
import {
  type Binaries,
  findNative,
  hasCode,
  prepareBinaries,
  type ServerUser,
} from './embedded/binaries.ts';
import {
  checkVersion,
  clusterOf,
  createCluster,
  dataOf,
  findServerUser,
  isAlive,
  logOf,
  prepareDirectory,
  prepareSocketDirectory,
} from './embedded/cluster.ts';
import {
  type Answer,
  ask,
  createDatabase,
  endOf,
  readPostmaster,
  removeStaleLock,
  spawnServer,
} from './embedded/postmaster.ts';

export type EmbeddedPostgres = {
  /** For pg and for slonik. */
  url: string;
  dataDir: string;
  /** False if another process runs the server. */
  started: boolean;
  /** Settles when a server that we started has ended, whatever the cause; never for another's. */
  ended: Promise<void>;
  /** Ends a server that we started, and waits for that; leaves another's alone. */
  stop(): Promise<void>;
};

export type EmbeddedOptions = {
  dir: string;
  onProgress?: (text: string) => void;
  settings?: Record<string, string>;
};

type Start = {
  directory: string;
  user: ServerUser;
  binaries: Binaries;
  settings: Record<string, string>;
};

const PATIENCE_MS = 60_000;
const STILL_HELD = /lock file .* already exists|shared memory block .* still in use/;

/**
 * Starts the server of `dir`, or joins it when another process of ours runs it.
 *
 * @throws ConfigError when it cannot run here, with the server's own words
 */
export const startEmbedded = async (options: EmbeddedOptions): Promise<EmbeddedPostgres> => {
  const directory = resolve(options.dir);
  try {
    return await start(directory, options);
  } catch (error) {
    throw verdictOf(error, directory);
  }
};

/** Where the running server of `dir` is reached, or null. */
export const findEmbedded = async (dir: string): Promise<string | null> => {
  const directory = resolve(dir);
  try {
    const server = await readPostmaster(directory);
    if (!server?.url) return null;
    return (await ask(server.url)).kind === 'up' ? server.url : null;
  } catch (error) {
    throw verdictOf(error, directory);
  }
};

const verdictOf = (error: unknown, directory: string): unknown =>
  hasCode(error, 'EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'ENOTDIR')
    ? new ConfigError(`The embedded PostgreSQL cannot use ${directory}: ${errorText(error)}`, {
        cause: error,
      })
    : error;

const start = async (path: string, options: EmbeddedOptions): Promise<EmbeddedPostgres> => {
  const { onProgress = () => {}, settings = {} } = options;
  const joined = await joinRunning(path);
  if (joined) return joined;
  const user = await findServerUser(path);
  const directory = await prepareDirectory(path, user);
  const binaries = await prepareBinaries(findNative(), user, directory, onProgress);
  if (!existsSync(clusterOf(directory))) {
    onProgress('Making a new database');
    await createCluster(directory, user, binaries);
  }
  await checkVersion(directory, binaries);
  onProgress('Starting PostgreSQL');
  return startOrJoin({ directory, user, binaries, settings });
};

/** Starts the server; a starter that was faster is joined, and one that just ends is waited for. */
const startOrJoin = async (start: Start): Promise<EmbeddedPostgres> => {
  const { directory } = start;
  await keepLog(directory);
  for (const startedAt = Date.now(); ; await delay(100)) {
    const server = (await launchServer(start)) ?? (await joinRunning(directory));
    if (server) return server;
    const said = (await readFile(logOf(directory), 'utf8')).trim().split('\n').slice(-5).join('\n');
    if (!STILL_HELD.test(said) || Date.now() - startedAt > PATIENCE_MS) {
      throw new ConfigError(
        `PostgreSQL did not start in ${directory}. ${logOf(directory)} ends:\n${said}`,
      );
    }
  }
};

/** @returns null if another process does not run the server */
const joinRunning = async (directory: string): Promise<EmbeddedPostgres | null> => {
  for (const startedAt = Date.now(); ; await delay(50)) {
    const server = await readPostmaster(directory);
    if (!server) return null;
    const answer: Answer = server.url ? await ask(server.url) : { kind: 'down' };
    if (answer.kind === 'no database' && server.url) await createDatabase(server.url);
    if (answer.kind === 'up' && server.url) {
      if (!isOrphan(answer.owner)) return joinedServer(directory, server.url);
      // Nothing else would ever end it.
      interrupt(server.pid);
    }
    if (Date.now() - startedAt > PATIENCE_MS) {
      throw new ConfigError(
        `PostgreSQL (process ${server.pid}) holds ${directory} and does not answer`,
      );
    }
  }
};

const joinedServer = (directory: string, url: string): EmbeddedPostgres => ({
  url,
  dataDir: dataOf(directory),
  started: false,
  ended: new Promise(() => {}),
  stop: async () => {},
});

/** A server without an owner is somebody's who started it by hand. */
const isOrphan = (owner: string): boolean => owner !== '' && !isAlive(Number.parseInt(owner, 10));

const interrupt = (pid: number): void => {
  try {
    process.kill(pid, 'SIGINT');
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
};

/** @returns null if the server ended before it was ready */
const launchServer = async (start: Start): Promise<EmbeddedPostgres | null> => {
  const { directory, user } = start;
  await removeStaleLock(directory);
  const sockets = await prepareSocketDirectory(directory, user);
  const owner = `${process.pid} ${randomUUID()}`;
  const child = await spawnServer({ ...start, sockets: sockets.path, owner });
  const ended = endOf(child);
  const stop = async () => {
    child.ref();
    child.stdin?.end();
    await ended;
    if (sockets.isTemporary) await removeDirectory(sockets.path);
  };
  try {
    const url = await waitUntilReady(directory, owner, ended);
    if (url === null) return null;
    // A program that forgets to stop the server can still end; then the server ends with it.
    child.unref();
    return { url, dataDir: dataOf(directory), started: true, ended, stop };
  } catch (error) {
    await stop();
    throw error;
  }
};

const waitUntilReady = async (
  directory: string,
  owner: string,
  ended: Promise<void>,
): Promise<string | null> => {
  let hasEnded = false;
  const end = ended.then(() => {
    hasEnded = true;
  });
  while (!hasEnded) {
    const url = (await readPostmaster(directory))?.url;
    const answer: Answer = url ? await ask(url) : { kind: 'down' };
    if (url && answer.kind === 'up' && answer.owner === owner) return url;
    if (url && answer.kind === 'no database') await createDatabase(url);
    else await Promise.race([delay(20), end]);
  }
  return null;
};

/** Keeps the log of the run before, which may tell why it ended. */
const keepLog = async (directory: string): Promise<void> => {
  try {
    await rename(logOf(directory), `${logOf(directory)}.1`);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
};

const removeDirectory = async (path: string): Promise<void> => {
  try {
    await rmdir(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTEMPTY')) throw error;
  }
};
