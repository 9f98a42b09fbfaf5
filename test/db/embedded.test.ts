/** The embedded PostgreSQL, run for real: it starts, loses nothing and leaves nothing behind. */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createPgDriverFactory } from '@slonik/pg-driver';
import pg from 'pg';
import { createPool, sql } from 'slonik';
import { z } from 'zod';
import { findNative, prepareBinaries } from '../../src/db/embedded/binaries.ts';
import { findServerUser, isAlive } from '../../src/db/embedded/cluster.ts';
import { endOf, spawnServer } from '../../src/db/embedded/postmaster.ts';
import { findEmbedded, startEmbedded } from '../../src/db/embedded.ts';
import { ConfigError } from '../../src/errors.ts';

const NOBODY = { uid: 65534, gid: 65534 };
const NO_SUCH_PROCESS = 2 ** 22 + 1; // process ids of Linux end at 2^22
const module = JSON.stringify(import.meta.resolve('../../src/db/embedded.ts'));
const skip = process.getuid?.() === 0 ? false : 'only root can become another user';

let parent = '';
let dir = '';

before(async () => {
  parent = await mkdtemp(join(tmpdir(), 'rowgram-'));
  await chmod(parent, 0o711);
  dir = join(parent, 'shared');
});

after(() => rm(parent, { recursive: true, force: true }));

const query = async (url: string, text: string): Promise<unknown[]> => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
};

const lockFile = () => join(dir, 'cluster', 'data', 'postmaster.pid');

const serverPid = async (): Promise<number> =>
  Number.parseInt(await readFile(lockFile(), 'utf8'), 10);

const processEnd = async (pid: number): Promise<void> => {
  const deadline = Date.now() + 20_000;
  while (isAlive(pid)) {
    assert.ok(Date.now() < deadline, `process ${pid} has not ended`);
    await delay(10);
  }
};

type Elsewhere = ChildProcessByStdio<null, Readable, null>;

/** Another process, which starts the server of `place` and then runs `body`. */
const startElsewhere = (place: string, body: string, options: SpawnOptions = {}): Elsewhere => {
  const start = `const server = await startEmbedded({ dir: ${JSON.stringify(place)} });`;
  const script = `import { startEmbedded } from ${module}; ${start} ${body}`;
  return spawn(process.execPath, ['--input-type=module', '-e', script], {
    ...options,
    stdio: ['ignore', 'pipe', 'inherit'],
  }) as Elsewhere; // as its stdio is
};

const firstLine = async (child: Elsewhere): Promise<string> => {
  const [chunk] = await once(child.stdout, 'data');
  return String(chunk).trim();
};

test('a fresh directory becomes a UTF-8 database that pg and slonik reach', async () => {
  const said: string[] = [];
  const onProgress = (text: string) => said.push(text);
  const server = await startEmbedded({ dir, onProgress, settings: { max_connections: '40' } });
  try {
    assert.equal(server.started, true);
    assert.deepEqual(said.slice(-2), ['Making a new database', 'Starting PostgreSQL']);
    const rows = await query(
      server.url,
      `select datname, pg_encoding_to_char(encoding) as encoding, datlocale as locale,
        current_setting('fsync') as fsync, current_setting('max_connections') as connections,
        current_setting('listen_addresses') as addresses
      from pg_database where datname = current_database()`,
    );
    const settings = { fsync: 'on', connections: '40', addresses: '' };
    assert.deepEqual(rows, [
      { datname: 'rowgram', encoding: 'UTF8', locale: 'C.UTF-8', ...settings },
    ]);
    const pool = await createPool(server.url, { driverFactory: createPgDriverFactory() });
    const row = z.object({ word: z.string() });
    assert.equal(await pool.oneFirst(sql.type(row)`select upper('blåbär') as word`), 'BLÅBÄR');
    await pool.end();
  } finally {
    await server.stop();
  }
});

test('two first starts at once make one server, and its data outlives it', async () => {
  const place = join(parent, 'twice');
  const both = await Promise.all([startEmbedded({ dir: place }), startEmbedded({ dir: place })]);
  assert.deepEqual(both.map(({ started }) => started).sort(), [false, true]);
  await query(both[0].url, 'create table kept as select 1 as n');
  for (const { stop } of both) await stop();
  assert.deepEqual((await readdir(place)).sort(), ['cluster', 'postgres.log', 'postgres.log.1']);
  const again = await startEmbedded({ dir: place });
  assert.deepEqual(await query(again.url, 'select n from kept'), [{ n: 1 }]);
  await again.stop();
});

test('the password and the socket are for the user of the server alone', async () => {
  const server = await startEmbedded({ dir });
  const modeOf = async (name: string) => ((await stat(join(dir, name))).mode & 0o777).toString(8);
  assert.equal(await modeOf('cluster'), '700');
  assert.equal(await modeOf('cluster/secret'), '600');
  assert.equal(await modeOf('postgres.log'), '600');
  const guess = server.url.replace(/:[^:@]+@/, ':guess@');
  await assert.rejects(query(guess, 'select 1'), { code: '28P01' });
  await server.stop();
});

test('statements that fail, and what they hold, stay out of the log', async () => {
  const server = await startEmbedded({ dir });
  await assert.rejects(query(server.url, `select 'horse battery staple' from nothing`));
  await server.stop();
  const log = await readFile(join(dir, 'postgres.log'), 'utf8');
  assert.match(log, /relation "nothing" does not exist/);
  assert.doesNotMatch(log, /battery/);
});

test('variables that name another server do not lead astray', async () => {
  const env = { ...process.env, PGHOST: 'db.invalid', PGPORT: '1', PGSSLMODE: 'require' };
  const body = `console.log('started'); await server.stop();`;
  const child = startElsewhere(dir, body, { env });
  assert.equal(await firstLine(child), 'started');
  await once(child, 'exit');
});

test('a second process joins, and its stop leaves the server running', async () => {
  const server = await startEmbedded({ dir });
  const body = 'console.log(server.started, server.url); await server.stop();';
  const child = startElsewhere(dir, body);
  assert.equal(await firstLine(child), `false ${server.url}`);
  await once(child, 'exit');
  assert.equal(await findEmbedded(dir), server.url);
  await server.stop();
  assert.equal(await findEmbedded(dir), null);
});

test('a process that forgets to stop the server can end, and the server ends with it', async () => {
  const child = startElsewhere(dir, `console.log('started');`);
  await firstLine(child);
  const [pid, [code]] = await Promise.all([serverPid(), once(child, 'exit')]);
  assert.equal(code, 0);
  await processEnd(pid);
});

test('kill -9 of its process ends the server, and a start finds what was committed', async () => {
  const child = startElsewhere(dir, `console.log(server.url); setInterval(() => {}, 1000);`);
  await query(await firstLine(child), 'create table before_kill as select 1 as n');
  const pid = await serverPid();
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  const server = await startEmbedded({ dir });
  assert.equal(server.started, true);
  assert.equal(isAlive(pid), false);
  assert.deepEqual(await query(server.url, 'select n from before_kill'), [{ n: 1 }]);
  await server.stop();
});

test('kill -9 of PostgreSQL is told, and a start at once recovers what was committed', async () => {
  const server = await startEmbedded({ dir });
  await query(server.url, 'create table before_crash as select 1 as n');
  process.kill(await serverPid(), 'SIGKILL');
  await server.ended;
  const again = await startEmbedded({ dir });
  assert.equal(again.started, true);
  assert.deepEqual(await query(again.url, 'select n from before_crash'), [{ n: 1 }]);
  await again.stop();
  await server.stop();
});

test('a server that has lost its owner is replaced by one that ends with us', async () => {
  const user = await findServerUser(dir);
  const binaries = await prepareBinaries(findNative(), user, dir, () => {});
  const orphan = await spawnServer({
    directory: dir,
    user,
    binaries,
    sockets: join(dir, 'cluster'),
    owner: `${NO_SUCH_PROCESS} its launch`,
    settings: {},
  });
  const end = endOf(orphan);
  while (!(await findEmbedded(dir))) await delay(10);
  const server = await startEmbedded({ dir });
  await end;
  assert.equal(server.started, true);
  await server.stop();
});

test('a postmaster.pid whose number went to another program is no server', async () => {
  await writeFile(lockFile(), `${process.pid}\n${dirname(lockFile())}\n0\n5432\n${dir}\n\n`);
  const { uid, gid } = await stat(dirname(lockFile()));
  await chown(lockFile(), uid, gid);
  assert.equal(await findEmbedded(dir), null);
  const server = await startEmbedded({ dir });
  assert.equal(server.started, true);
  await server.stop();
});

test('a directory moves as a whole, and a path too long for a socket gets a short one', async () => {
  const far = join(
    parent,
    'a directory with a name of seventy-two characters, ä, "quoted" and: such',
  );
  await rename(dir, far);
  const server = await startEmbedded({ dir: far });
  const sockets = decodeURIComponent(new URL(server.url).hostname);
  assert.match(sockets, /^\/tmp\/rowgram-[0-9a-f]{16}$/);
  assert.equal((await stat(sockets)).mode & 0o777, 0o700);
  assert.deepEqual(await query(server.url, 'select 1 as n'), [{ n: 1 }]);
  assert.equal(await findEmbedded(far), server.url);
  await server.stop();
  await assert.rejects(stat(sockets), { code: 'ENOENT' });
  await rename(far, dir);
});

test('a setting that PostgreSQL refuses is told in its own words', async () => {
  const start = startEmbedded({ dir, settings: { max_connections: 'many' } });
  await assert.rejects(start, (error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /invalid value for parameter "max_connections": "many"/);
    return true;
  });
});

test('data of another major version is refused with the way out', async () => {
  const version = join(dir, 'cluster', 'data', 'PG_VERSION');
  const made = await readFile(version, 'utf8');
  await writeFile(version, '9\n');
  await assert.rejects(startEmbedded({ dir }), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /made by PostgreSQL 9.*comes with 18.*pg_dump.*DATABASE_URL/);
    return true;
  });
  await writeFile(version, made);
});

test('what a killed start left half made is cleared away', async () => {
  const left = join(dir, `new-${NO_SUCH_PROCESS}-x`);
  await mkdir(join(left, 'data'), { recursive: true });
  const server = await startEmbedded({ dir });
  await assert.rejects(stat(left), { code: 'ENOENT' });
  await server.stop();
});

test('an ordinary user runs it as itself; root then runs it as that user', { skip }, async () => {
  const place = join(parent, 'ordinary');
  await mkdir(place, { mode: 0o700 });
  await chown(place, NOBODY.uid, NOBODY.gid);
  const body = 'console.log(server.started); await server.stop();';
  const child = startElsewhere(place, body, { ...NOBODY, cwd: '/' });
  assert.equal(await firstLine(child), 'true');
  await once(child, 'exit');
  const server = await startEmbedded({ dir: place });
  assert.equal((await stat(join(place, 'cluster', 'data', 'postmaster.pid'))).uid, NOBODY.uid);
  await server.stop();
});

test('a directory that the user of the server cannot enter is refused', { skip }, async () => {
  const closed = join(parent, 'closed');
  await mkdir(closed, { mode: 0o700 });
  await assert.rejects(startEmbedded({ dir: join(closed, 'data') }), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /cannot enter .*closed\/data: set ROWGRAM_DATA_DIR/);
    return true;
  });
});
