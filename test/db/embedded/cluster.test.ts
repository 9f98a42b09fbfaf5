/** Where the server's socket goes when the path is too long for it. */
import assert from 'node:assert/strict';
import { chmod, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findServerUser, prepareSocketDirectory } from '../../../src/db/embedded/cluster.ts';
import { ConfigError } from '../../../src/errors.ts';

const far = join(tmpdir(), `${process.pid}`.padEnd(100, '-'));

test('the short directory is taken up again after a crash, unless others can enter it', async () => {
  const user = await findServerUser(far);
  const { path, isTemporary } = await prepareSocketDirectory(far, user);
  try {
    assert.equal(isTemporary, true);
    assert.equal((await stat(path)).uid, user.uid);
    assert.deepEqual(await prepareSocketDirectory(far, user), { path, isTemporary });
    await chmod(path, 0o755);
    await assert.rejects(prepareSocketDirectory(far, user), ConfigError);
  } finally {
    await rm(path, { recursive: true });
  }
});
