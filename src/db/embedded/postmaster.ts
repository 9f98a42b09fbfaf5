/** The embedded server as a process: spawned, found by its postmaster.pid, asked for an answer. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { constants, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { ConfigError, errorText } from '../../errors.ts';
import { type Binaries, hasCode, runAs, type ServerUser } from './binaries.ts';
import { clusterOf, dataOf, isAlive, logOf, SUPERUSER } from './cluster.ts';

/** A server that holds the data directory. `url` is null until it has opened its socket. */
export type Postmaster = { pid: number; url: string | null };

export type Answer = { kind: 'up'; owner: string } | { kind: 'no database' } | { kind: 'down' };

export type Launch = {
  directory: string;
  user: ServerUser;
  binaries: Binaries;
  sockets: string;
  /** Our process id and what tells this launch from others. */
  owner: string;
  settings: Record<string, string>;
};

const execute = promisify(execFile);
const DATABASE = 'rowgram';
const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants;
// Root may write here where another user owns the directory, and may have put a link.
const APPEND = O_APPEND | O_CREAT | O_NOFOLLOW | O_WRONLY;
// Duplicate database, unique violation, template in use.
const CREATED_ALREADY = ['42P04', '23505', '55006'];

// Ends the server when its input ends, and that it does whichever way our process goes. Signals are
// for the server's owner: a Ctrl-C must not end the database before the one who uses it.
const WRAPPER = `
trap '' HUP INT TERM
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ while read -r line; do :; done <&3; kill -INT $server; } &
reader=$!
exec 3<&-
wait $server
code=$?
kill -9 $reader 2>/dev/null
exit $code`;

/** Starts a server, which needs some time before it answers. Tell it to end by ending its input. */
export const spawnServer = async (launch: Launch): Promise<ChildProcess> => {
  const { directory, sockets, owner } = launch;
  const settings = { ...serverSettings(sockets), ...launch.settings, 'rowgram.owner': owner };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const command = [launch.binaries.postgres, '-D', dataOf(directory), ...flags];
  const log = await open(logOf(directory), APPEND, 0o600);
  try {
    return spawn('/bin/sh', ['-c', WRAPPER, 'sh', ...command], {
      ...runAs(launch.user),
      // A session of its own, where no Ctrl-C and no hang-up of the terminal arrives.
      detached: true,
      stdio: ['pipe', log.fd, log.fd],
    });
  } finally {
    await log.close();
  }
};

/** The log gets the server's own words and none of its users': statements may hold passwords. */
const serverSettings = (sockets: string): Record<string, string> => ({
  listen_addresses: '',
  unix_socket_directories: `"${sockets.replaceAll('"', '""')}"`,
  unix_socket_permissions: '0700',
  port: '5432',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off',
  // A long backlog is settled without a checkpoint in between.
  max_wal_size: '4GB',
  wal_compression: 'on',
});

/** Settles when the child has ended, or could not be spawned. */
export const endOf = (child: ChildProcess): Promise<void> => {
  // A child that is gone no longer reads; its end is told by 'exit'.
  child.stdin?.on('error', () => {});
  return new Promise((done) => {
    child.once('exit', () => done());
    child.once('error', () => done());
  });
};

/** The server that holds the data directory, by its postmaster.pid; null if there is none. */
export const readPostmaster = async (directory: string): Promise<Postmaster | null> => {
  const text = await readIfThere(join(dataOf(directory), 'postmaster.pid'));
  const [pid = '', data = '', , port = '', sockets = ''] = text?.split('\n') ?? [];
  // After a restart of the machine or the container, the number may be another program's.
  if (!data || !(await readCommand(Number(pid))).includes(data)) return null;
  if (!sockets) return { pid: Number(pid), url: null };
  const secret = await readFile(join(clusterOf(directory), 'secret'), 'utf8');
  const host = encodeURIComponent(sockets);
  // PGPORT and PGSSLMODE, where set, would take the place of what is left out.
  const url = `postgres://${SUPERUSER}:${secret}@${host}:${port}/${DATABASE}?sslmode=disable`;
  return { pid: Number(pid), url };
};

/** Removes a postmaster.pid whose number is another program's: PostgreSQL would not dare. */
export const removeStaleLock = async (directory: string): Promise<void> => {
  const file = join(dataOf(directory), 'postmaster.pid');
  const pid = Number.parseInt((await readIfThere(file)) ?? '', 10);
  if (isAlive(pid) && !(await readPostmaster(directory))) await rm(file, { force: true });
};

const readIfThere = async (file: string): Promise<string | null> => {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
};

/** The command line of a process; empty if there is no such process. */
const readCommand = async (pid: number): Promise<string> => {
  if (process.platform === 'linux') return (await readIfThere(`/proc/${pid}/cmdline`)) ?? '';
  try {
    return (await execute('ps', ['-ww', '-o', 'command=', '-p', String(pid)])).stdout;
  } catch {
    // ps fails when there is no such process.
    return '';
  }
};

/** @throws ConfigError when the server does not know the password */
export const ask = async (url: string): Promise<Answer> => {
  try {
    const query = `select current_setting('rowgram.owner', true) as owner`;
    const [row] = await queryOnce<{ owner: string | null }>(url, query);
    return { kind: 'up', owner: row?.owner ?? '' };
  } catch (error) {
    if (hasCode(error, '3D000')) return { kind: 'no database' };
    if (hasCode(error, '28P01', '28000')) {
      throw new ConfigError('The embedded PostgreSQL refuses the password in its secret file', {
        cause: error,
      });
    }
    return { kind: 'down' };
  }
};

/** Makes the database that `url` names, unless there is one. */
export const createDatabase = async (url: string): Promise<void> => {
  try {
    await queryOnce(url.replace(`/${DATABASE}?`, '/postgres?'), `create database ${DATABASE}`);
  } catch (error) {
    if (hasCode(error, ...CREATED_ALREADY)) return;
    throw new ConfigError(`PostgreSQL cannot make a database: ${errorText(error)}`, {
      cause: error,
    });
  }
};

const queryOnce = async <Row extends pg.QueryResultRow>(
  url: string,
  query: string,
): Promise<Row[]> => {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // The query that fails tells of it.
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query<Row>(query)).rows;
  } finally {
    await client.end();
  }
};
