/**
 * The files of the embedded PostgreSQL. Below its directory:
 *   cluster/data           the data directory
 *   cluster/secret         the password of its superuser
 *   cluster/.s.PGSQL.5432  the socket, if its path is not too long
 *   postgres.log           what the server says
 *   postgres-18…/          a copy of its binaries, if it cannot read ours
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { constants, existsSync, readFileSync } from 'node:fs';
import {
  chmod,
  chown,
  lchown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ConfigError } from '../../errors.ts';
import { type Binaries, failureText, hasCode, runAs, type ServerUser } from './binaries.ts';

const execute = promisify(execFile);
export const SUPERUSER = 'rowgram';
// sun_path holds 104 bytes on macOS and the BSDs, and 108 on Linux, the closing zero included.
const SOCKET_PATH_MAX_BYTES = 103;
const CLOSED_DIRECTORY = constants.S_IFDIR | 0o700;

export const clusterOf = (directory: string): string => join(directory, 'cluster');
export const dataOf = (directory: string): string => join(directory, 'cluster', 'data');
export const logOf = (directory: string): string => join(directory, 'postgres.log');

/** Who runs the server: ourselves, but PostgreSQL refuses root, so then the owner of its files. */
export const findServerUser = async (directory: string): Promise<ServerUser> => {
  const { getuid, getgid } = process;
  if (!getuid || !getgid) throw new ConfigError('The embedded PostgreSQL needs a Unix');
  if (getuid() !== 0) return { uid: getuid(), gid: getgid() };
  if (existsSync(clusterOf(directory))) {
    const { uid, gid } = await stat(clusterOf(directory));
    return { uid, gid };
  }
  const [, uid, gid] =
    /^nobody:[^:]*:(\d+):(\d+):/m.exec(await readFile('/etc/passwd', 'utf8')) ?? [];
  if (uid && gid) return { uid: Number(uid), gid: Number(gid) };
  throw new ConfigError(
    'PostgreSQL refuses to run as root, and there is no user nobody to run it as',
  );
};

/**
 * Makes the directory, open to passage if the server runs as another user, and clears it of what
 * a killed process left half made.
 *
 * @returns its real path
 * @throws ConfigError when the server's user cannot get there
 */
export const prepareDirectory = async (directory: string, user: ServerUser): Promise<string> => {
  const isOurs = user.uid === process.getuid?.();
  const first = await mkdir(directory, { recursive: true, mode: isOurs ? 0o700 : 0o711 });
  const real = await realpath(directory);
  if (!isOurs) await openToPassage(real, first ? await realpath(first) : real, user);
  for (const name of await readdir(real)) {
    const [, pid] = /^new-(\d+)-/.exec(name) ?? [];
    if (pid && !isAlive(Number(pid))) await rm(join(real, name), { recursive: true, force: true });
  }
  return real;
};

/** Opens `last`, and up to `first` what we made above it: a umask may have closed them. */
const openToPassage = async (last: string, first: string, user: ServerUser): Promise<void> => {
  for (let path = last; path.length >= first.length; path = dirname(path)) {
    const { mode } = await stat(path);
    await chmod(path, mode | 0o001);
  }
  try {
    await execute('/bin/sh', ['-c', 'cd -- "$1"', 'sh', last], runAs(user));
  } catch (cause) {
    const text = `PostgreSQL runs as user ${user.uid} and cannot enter ${last}`;
    const advice = 'set ROWGRAM_DATA_DIR to a place open to all, such as /var/lib/rowgram';
    throw new ConfigError(`${text}: ${advice}`, { cause });
  }
};

/** Makes the cluster, whole or not at all, unless there is one. */
export const createCluster = async (
  directory: string,
  user: ServerUser,
  { initdb }: Binaries,
): Promise<void> => {
  const unfinished = await mkdtemp(join(directory, `new-${process.pid}-`));
  const secret = join(unfinished, 'secret');
  await writeFile(secret, randomBytes(24).toString('base64url'), { mode: 0o600, flush: true });
  await chown(secret, user.uid, user.gid);
  await chown(unfinished, user.uid, user.gid);
  const locale = ['--encoding=UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const access = [`--username=${SUPERUSER}`, `--pwfile=${secret}`, '--auth=scram-sha-256'];
  try {
    await execute(
      initdb,
      [`--pgdata=${join(unfinished, 'data')}`, ...locale, ...access],
      runAs(user),
    );
    await rename(unfinished, clusterOf(directory));
  } catch (cause) {
    await rm(unfinished, { recursive: true, force: true });
    // Another process was faster.
    if (hasCode(cause, 'ENOTEMPTY', 'EEXIST')) return;
    throw new ConfigError(
      `PostgreSQL cannot make a database in ${directory}: ${failureText(cause)}`,
      { cause },
    );
  }
};

/** @throws ConfigError when another major version of PostgreSQL made the data */
export const checkVersion = async (directory: string, { major }: Binaries): Promise<void> => {
  const data = dataOf(directory);
  const made = (await readFile(join(data, 'PG_VERSION'), 'utf8')).trim();
  if (made === major) return;
  const there = `${data} was made by PostgreSQL ${made}, and this Rowgram comes with ${major}`;
  const advice = `run PostgreSQL ${made} on it and pg_dump it, then restore into a new directory`;
  throw new ConfigError(`${there}: ${advice}, or set DATABASE_URL to a server of your own`);
};

/** The directory of the server's socket, open to the server's user alone. */
export const prepareSocketDirectory = async (
  directory: string,
  user: ServerUser,
): Promise<{ path: string; isTemporary: boolean }> => {
  const cluster = clusterOf(directory);
  if (Buffer.byteLength(join(cluster, '.s.PGSQL.65535')) <= SOCKET_PATH_MAX_BYTES) {
    return { path: cluster, isTemporary: false };
  }
  const hash = createHash('sha256').update(cluster).digest('hex').slice(0, 16);
  const path = join('/tmp', `rowgram-${hash}`);
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
  // Anyone may have made something of that name; what is root's or the user's, only they replace.
  const { uid, mode } = await lstat(path);
  const isOurs = uid === user.uid || uid === process.getuid?.();
  if (!isOurs || mode !== CLOSED_DIRECTORY)
    throw new ConfigError(`Remove ${path}: it is in the way`);
  if (uid !== user.uid) await lchown(path, user.uid, user.gid);
  return { path, isTemporary: true };
};

/** Whether there is a process of that number; it may be another user's. */
export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
  return !isZombie(pid);
};

/** Ended, though its parent has not been told: a signal still finds it. */
const isZombie = (pid: number): boolean => {
  try {
    return /^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    // No /proc, or gone since.
    return false;
  }
};
