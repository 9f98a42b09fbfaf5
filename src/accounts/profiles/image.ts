/** What kind of picture bytes are, by how they begin, whatever anyone claims. */

export type ImageType = 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp';

/** Names that the decoder has for them. */
export const IMAGE_FORMATS: Record<string, ImageType> = {
  png: 'image/png',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
};

const startsWith = (bytes: Uint8Array, at: number, text: string): boolean =>
  Buffer.from(bytes.subarray(at, at + text.length)).toString('latin1') === text;

/** @returns null for anything else: others, such as SVG, can refer to what is elsewhere */
export const sniffImage = (bytes: Uint8Array): ImageType | null => {
  if (startsWith(bytes, 0, '\x89PNG\r\n\x1a\n')) return 'image/png';
  if (startsWith(bytes, 0, '\xff\xd8\xff')) return 'image/jpeg';
  if (startsWith(bytes, 0, 'GIF87a') || startsWith(bytes, 0, 'GIF89a')) return 'image/gif';
  return startsWith(bytes, 0, 'RIFF') && startsWith(bytes, 8, 'WEBP') ? 'image/webp' : null;
};
