/** The binaries that npm brought, made to run for whoever must run them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import {
  findNative,
  prepareBinaries,
  runAs,
  type ServerUser,
} from '../../../src/db/embedded/binaries.ts';
import { findServerUser } from '../../../src/db/embedded/cluster.ts';
import { ConfigError } from '../../../src/errors.ts';

const execute = promisify(execFile);
let parent = '';
let user: ServerUser = { uid: 0, gid: 0 };

before(async () => {
  process.umask(0o022);
  parent = await mkdtemp(join(tmpdir(), 'rowgram-'));
  await chmod(parent, 0o711);
  user = await findServerUser(parent);
});

after(() => rm(parent, { recursive: true, force: true }));

/** The package as npm leaves it when install scripts are off: without its symbolic links. */
const copyPackage = async (name: string): Promise<string> => {
  const place = join(parent, name);
  await execute('cp', ['-RP', dirname(findNative()), place]);
  await execute('find', [join(place, 'native', 'lib'), '-type', 'l', '-delete']);
  return join(place, 'native');
};

test('a platform without binaries is told to set DATABASE_URL', () => {
  assert.throws(
    () => findNative('linux-mips'),
    (error) => error instanceof ConfigError && /linux-mips: set DATABASE_URL/.test(error.message),
  );
});

test('missing links between the libraries are made in place', async () => {
  const native = await copyPackage('scripts-off');
  const copies = join(parent, 'no-copies');
  await mkdir(copies);
  const binaries = await prepareBinaries(native, user, copies, () => {});
  assert.equal(binaries.postgres, join(native, 'bin', 'postgres'));
  assert.match((await execute(binaries.initdb, ['--version'], runAs(user))).stdout, /PostgreSQL/);
  assert.deepEqual(await readdir(copies), []);
});

test('binaries that the user cannot reach or complete are copied once', async () => {
  const native = await copyPackage('closed');
  // Root is not held back by the first, and the user of its server is by the second.
  await chmod(join(native, 'lib'), 0o555);
  if (user.uid !== process.getuid?.()) await chmod(dirname(native), 0o700);
  const copies = join(parent, 'copies');
  await mkdir(copies, { mode: 0o711 });
  const said: string[] = [];
  const first = await prepareBinaries(native, user, copies, (text) => said.push(text));
  assert.equal(dirname(dirname(dirname(first.postgres))), copies);
  assert.match((await execute(first.initdb, ['--version'], runAs(user))).stdout, /PostgreSQL/);
  assert.deepEqual(await prepareBinaries(native, user, copies, (text) => said.push(text)), first);
  assert.equal(said.length, 1);
  assert.equal((await readdir(copies)).length, 1);
  await chmod(join(native, 'lib'), 0o755);
});

test('binaries made for another libc are told from closed ones, and not copied', async () => {
  const native = join(parent, 'foreign', 'native');
  await mkdir(join(native, 'bin'), { recursive: true });
  // A program whose loader is missing fails just as a script whose interpreter is missing.
  await writeFile(join(native, 'bin', 'postgres'), '#!/lib64/no-loader\n', { mode: 0o755 });
  await assert.rejects(
    prepareBinaries(native, user, parent, () => assert.fail('copied')),
    (error) => error instanceof ConfigError && /set DATABASE_URL/.test(error.message),
  );
});
