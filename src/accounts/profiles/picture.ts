/** Pictures, decoded under limits: those that people give us, and those that others send. */
import { createHash } from 'node:crypto';
import type { Sharp } from 'sharp';
import { createLimit } from '../../db/limit.ts';
import { errorText, RejectError } from '../../errors.ts';
import { IMAGE_FORMATS, type ImageType, sniffImage } from './image.ts';

export type Avatar = { bytes: Buffer; hash: string; width: number; height: number };

const SOURCE_BYTES = 10_000_000;
const SOURCE_PIXELS = 50_000_000;
const SIDE = 192;
const TIMEOUT_S = 10;

/** One at a time: a large one takes 200 MB while it is decoded. */
const turn = createLimit(1);

export const hashPicture = (bytes: Uint8Array): string =>
  createHash('sha1').update(bytes).digest('hex');

/** Loaded when the first picture comes: most daemons never see one. */
const openPicture = async (bytes: Buffer): Promise<Sharp> => {
  const { default: sharp } = await import('sharp');
  sharp.cache(false);
  sharp.concurrency(1);
  return sharp(bytes, {
    limitInputPixels: SOURCE_PIXELS,
    failOn: 'error',
    sequentialRead: true,
    pages: 1,
  });
};

const refuse = (reason: string, cause?: unknown): RejectError =>
  new RejectError(reason, 'bad-request', { cause });

/** @throws RejectError unless it is a picture of a type that is known, and of no more pixels than allowed */
const inspect = async (bytes: Buffer): Promise<{ picture: Sharp; type: ImageType }> => {
  const type = sniffImage(bytes);
  if (type === null) throw refuse('the picture is no PNG, JPEG, WebP or GIF');
  try {
    const picture = await openPicture(bytes);
    const { format, width, height } = await picture.metadata();
    if (IMAGE_FORMATS[format ?? ''] !== type) throw new Error('its content is of another type');
    if (width * height > SOURCE_PIXELS) {
      throw new Error(`${width} by ${height} pixels are more than ${SOURCE_PIXELS}`);
    }
    return { picture, type };
  } catch (error) {
    throw refuse(`the picture is not accepted: ${errorText(error)}`, error);
  }
};

/**
 * The picture small, as a PNG without anything but its pixels.
 *
 * @throws RejectError when it is none, or beyond the limits
 */
export const makeAvatar = (bytes: Buffer): Promise<Avatar> =>
  turn(async () => {
    if (bytes.length > SOURCE_BYTES) throw refuse(`the picture is more than ${SOURCE_BYTES} bytes`);
    const { picture } = await inspect(bytes);
    try {
      const { data, info } = await picture
        .timeout({ seconds: TIMEOUT_S })
        .autoOrient()
        .resize(SIDE, SIDE, { fit: 'inside', withoutEnlargement: true })
        .toColourspace('srgb')
        .png({ compressionLevel: 9 })
        .toBuffer({ resolveWithObject: true });
      return { bytes: data, hash: hashPicture(data), width: info.width, height: info.height };
    } catch (error) {
      throw refuse(`the picture cannot be decoded: ${errorText(error)}`, error);
    }
  });

/**
 * The type of a picture that is kept as it came; only its head is read.
 *
 * @throws RejectError when it is none, or beyond the limits
 */
export const readPictureType = (bytes: Buffer): Promise<ImageType> =>
  turn(async () => (await inspect(bytes)).type);
