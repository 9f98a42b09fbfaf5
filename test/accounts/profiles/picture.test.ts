/** Pictures are decoded under limits, whatever they claim to be. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, test } from 'node:test';
import sharp from 'sharp';
import { sniffImage } from '../../../src/accounts/profiles/image.ts';
import { makeAvatar, readPictureType } from '../../../src/accounts/profiles/picture.ts';
import { RejectError } from '../../../src/errors.ts';

const draw = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 200, g: 30, b: 90 } } });
const refused = (message: RegExp) => (error: unknown) =>
  error instanceof RejectError && message.test(error.message);

let bomb: Buffer;
before(async () => {
  const options = { width: 20_000, height: 20_000, channels: 3, background: 'black' } as const;
  bomb = await sharp({ create: options, limitInputPixels: false })
    .png({ compressionLevel: 9 })
    .toBuffer();
});

test('every common format becomes a PNG that fits into 192 by 192 pixels', async () => {
  const drawing = draw(400, 300).withExif({ IFD0: { Copyright: 'a secret' } });
  const pictures = await Promise.all([
    drawing.clone().png().toBuffer(),
    drawing.clone().jpeg().toBuffer(),
    drawing.clone().webp().toBuffer(),
    drawing.clone().gif().toBuffer(),
  ]);
  for (const picture of pictures) {
    const { bytes, hash, width, height } = await makeAvatar(picture);
    assert.deepEqual([width, height], [192, 144]);
    assert.equal(sniffImage(bytes), 'image/png');
    assert.equal(hash, createHash('sha1').update(bytes).digest('hex'));
    const { exif, format } = await sharp(bytes).metadata();
    assert.deepEqual([exif, format], [undefined, 'png']);
    assert.ok(!bytes.includes('secret'));
  }
});

test('a small picture is not enlarged, and one on its side is put upright', async () => {
  const small = await makeAvatar(await draw(10, 20).png().toBuffer());
  assert.deepEqual([small.width, small.height], [10, 20]);
  const turned = await draw(40, 20).withMetadata({ orientation: 6 }).jpeg().toBuffer();
  const upright = await makeAvatar(turned);
  assert.deepEqual([upright.width, upright.height], [20, 40]);
});

test('a bomb of 400 megapixels in a megabyte is refused unread', async () => {
  assert.ok(bomb.length < 2_000_000);
  await assert.rejects(makeAvatar(bomb), refused(/pixel/));
  await assert.rejects(readPictureType(bomb), refused(/pixel/));
});

test('what is no picture of a known type, broken or too large is refused', async () => {
  const png = await draw(300, 300).png().toBuffer();
  const wrong: [name: string, bytes: Buffer, message: RegExp][] = [
    ['nothing', Buffer.alloc(0), /is no PNG/],
    ['text', Buffer.from('hello'), /is no PNG/],
    ['svg', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), /is no PNG/],
    ['tiff', await draw(10, 10).tiff().toBuffer(), /is no PNG/],
    ['a head alone', png.subarray(0, 8), /not accepted/],
    ['cut off', png.subarray(0, Math.floor(png.length / 2)), /cannot be decoded|not accepted/],
    ['large', Buffer.concat([png, Buffer.alloc(10_000_000)]), /more than 10000000 bytes/],
  ];
  for (const [name, bytes, message] of wrong) {
    await assert.rejects(makeAvatar(bytes), refused(message), name);
  }
});

test('the type of a picture that is kept is that of its content', async () => {
  assert.equal(await readPictureType(await draw(5, 5).webp().toBuffer()), 'image/webp');
  assert.equal(await readPictureType(await draw(5, 5).jpeg().toBuffer()), 'image/jpeg');
  await assert.rejects(readPictureType(Buffer.from('GIF89a')), refused(/not accepted/));
});
