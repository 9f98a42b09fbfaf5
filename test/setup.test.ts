/** What a fresh clone lacks is seen, and the command that it is for gets what is meant for it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findMissing, hasPackages } from '../src/setup.mjs';

let root = '';

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'rowgram-'));
});

after(() => rm(root, { recursive: true, force: true }));

type Packages = Record<string, { version?: string; optional?: boolean }>;

const writePackages = async (name: string, wanted: Packages, there: Packages): Promise<string> => {
  const place = join(root, name);
  await mkdir(join(place, 'node_modules'), { recursive: true });
  const lock = join(place, 'package-lock.json');
  await writeFile(lock, JSON.stringify({ packages: { '': {}, ...wanted } }));
  const hidden = join(place, 'node_modules', '.package-lock.json');
  await writeFile(hidden, JSON.stringify({ packages: there }));
  return place;
};

test('packages are there when each locked version is, other platforms left out', async () => {
  const wanted = {
    'node_modules/a': { version: '1.0.0' },
    'node_modules/for-another-platform': { version: '1.0.0', optional: true },
  };
  const same = { 'node_modules/a': { version: '1.0.0' } };
  const old = { 'node_modules/a': { version: '0.9.0' } };
  assert.equal(hasPackages(await writePackages('same', wanted, same)), true);
  assert.equal(hasPackages(await writePackages('old', wanted, old)), false);
  assert.equal(hasPackages(await writePackages('none', wanted, {})), false);
  assert.equal(hasPackages(join(root, 'nowhere')), false);
});

test('a server is missing when its program is in none of the directories', async () => {
  const place = join(root, 'sbin');
  await mkdir(place);
  await writeFile(join(place, 'ejabberdctl'), '');
  assert.deepEqual(findMissing(['prosody', 'ejabberd'], [root, place]), ['prosody']);
});

test('the command gets its arguments and a SIGTERM, and its exit code is ours', async () => {
  const place = await writePackages('command', {}, {});
  await mkdir(join(place, 'src'));
  const setup = fileURLToPath(import.meta.resolve('../src/setup.mjs'));
  await copyFile(setup, join(place, 'src', 'setup.mjs'));
  await mkdir(join(place, 'node_modules', '.bin'));
  await symlink(process.execPath, join(place, 'node_modules', '.bin', 'node'));
  const body = `process.on('SIGTERM', () => process.exit(7));
    setInterval(() => {}, 1000);
    console.log(process.argv.slice(2).join(' '));`;
  await writeFile(join(place, 'src', 'main.ts'), body);
  const child = spawn(process.execPath, [join(place, 'src', 'setup.mjs'), 'status', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(child.stdout, 'data');
  assert.equal(String(line), 'status --json\n');
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [7, null]);
});
