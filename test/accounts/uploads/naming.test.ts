/** An attachment is called what its row says, and is of the type that follows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nameAttachment } from '../../../src/accounts/uploads/naming.ts';
import { RejectError } from '../../../src/errors.ts';

test('the name is the one stated, else that of the path, else one made of the type', () => {
  const cases: [name: string | null, path: string | null, type: string | null, named: string[]][] =
    [
      ['a.png', 'b/c.jpg', null, ['a.png', 'image/png']],
      [null, 'b/c.JPG', null, ['c.JPG', 'image/jpeg']],
      [null, null, 'image/webp', ['file.webp', 'image/webp']],
      [null, null, 'Text/Plain; charset=utf-8', ['file.txt', 'Text/Plain; charset=utf-8']],
      [null, null, 'x/y', ['file', 'x/y']],
      [null, null, null, ['file', 'application/octet-stream']],
      ['../../etc/passwd', null, null, ['passwd', 'application/octet-stream']],
      ['..\\a.csv', null, null, ['a.csv', 'text/csv']],
      ['..', 'dir/.', 'image/png', ['file.png', 'image/png']],
      ['  ', null, null, ['file', 'application/octet-stream']],
      ['a.constructor', null, '', ['a.constructor', 'application/octet-stream']],
      ['a.tar.zip', null, null, ['a.tar.zip', 'application/zip']],
      ['a.png', null, 'image/x-own', ['a.png', 'image/x-own']],
    ];
  for (const [name, path, type, named] of cases) {
    const { name: found, type: foundType } = nameAttachment({ name, path, type });
    assert.deepEqual([found, foundType], named, `${name}, ${path}, ${type}`);
  }
});

test('a type that could become another header is refused', () => {
  for (const type of ['image', 'image/', '/png', 'a/b\r\nCookie: x', 'a b/c', 'a/b; c']) {
    assert.throws(
      () => nameAttachment({ name: 'a.png', path: null, type }),
      (error) => error instanceof RejectError && /attachment_type/.test(error.message),
      JSON.stringify(type),
    );
  }
});
