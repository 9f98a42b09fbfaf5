/** Files below the directory are read, and nothing else is. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openFileBelow } from '../../../src/accounts/uploads/files.ts';
import { RejectError } from '../../../src/errors.ts';

let root: string;
let dir: string;
const BYTES = Buffer.alloc(200_000, 'abc');

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'files-'));
  dir = join(root, 'files');
  await mkdir(join(dir, 'sub'), { recursive: true });
  await mkdir(join(root, 'files-too'));
  await writeFile(join(dir, 'sub', 'a'), BYTES);
  await writeFile(join(root, 'secret'), 'secret');
  await writeFile(join(root, 'files-too', 'a'), 'secret');
  await symlink(join(root, 'secret'), join(dir, 'out'));
  await symlink(root, join(dir, 'up'));
  await symlink('sub/a', join(dir, 'inside'));
  await symlink(dir, join(root, 'link'));
  spawnSync('mkfifo', [join(dir, 'pipe')]);
});
after(() => rm(root, { recursive: true, force: true }));

const readAll = async (path: string, from = dir): Promise<Buffer> => {
  const file = await openFileBelow(from, path);
  const pieces: Buffer[] = [];
  for await (const piece of file.pieces()) pieces.push(piece);
  await file.close();
  assert.equal(Buffer.concat(pieces).length, file.sizeBytes);
  return Buffer.concat(pieces);
};

test('a file below is read, by its relative or its whole path, through links that stay inside', async () => {
  for (const path of ['sub/a', join(dir, 'sub/a'), 'sub/../sub/a', 'inside', './sub//a']) {
    assert.deepEqual(await readAll(path), BYTES, path);
  }
  assert.deepEqual(await readAll('sub/a', join(root, 'link')), BYTES);
});

test('whatever leads out, or is no regular file, is refused', async () => {
  const refusals: [path: string, message: RegExp][] = [
    ['../secret', /leads out/],
    ['../files-too/a', /leads out/],
    [join(root, 'secret'), /leads out/],
    ['out', /leads out/],
    ['up/secret', /leads out/],
    ['up', /leads out/],
    ['.', /leads out/],
    ['', /leads out/],
    ['sub', /no regular file/],
    ['pipe', /no regular file/],
    ['missing', /no file that can be read/],
    ['a\0b', /no file that can be read/],
  ];
  for (const [path, message] of refusals) {
    await assert.rejects(
      openFileBelow(dir, path),
      (error) => error instanceof RejectError && message.test(error.message),
      path,
    );
  }
  await assert.rejects(
    openFileBelow(null, 'sub/a'),
    /attachment_path needs ROWGRAM_ATTACHMENT_DIR/,
  );
});

test('a file that becomes shorter while it is read is an error, one that grows is cut', async () => {
  const path = join(dir, 'changing');
  await writeFile(path, BYTES);
  const short = await openFileBelow(dir, 'changing');
  await truncate(path, 100);
  await assert.rejects(async () => {
    for await (const _ of short.pieces());
  }, /has become shorter/);
  await short.close();
  await writeFile(path, 'abc');
  const grown = await openFileBelow(dir, 'changing');
  await writeFile(path, 'abcdef');
  const pieces: Buffer[] = [];
  for await (const piece of grown.pieces()) pieces.push(piece);
  await grown.close();
  assert.equal(Buffer.concat(pieces).toString(), 'abc');
});
