/** What an attachment is called and what it is, for the service and for whoever gets it. */
import { RejectError } from '../../errors.ts';

export type Naming = { name: string | null; path: string | null; type: string | null };

/** The first extension of a type is the one that a nameless file gets. */
const TYPES: Record<string, string> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  svg: 'image/svg+xml',
  pdf: 'application/pdf',
  txt: 'text/plain',
  mp3: 'audio/mpeg',
  ogg: 'audio/ogg',
  opus: 'audio/opus',
  mp4: 'video/mp4',
  webm: 'video/webm',
  zip: 'application/zip',
  json: 'application/json',
  csv: 'text/csv',
};
const UNKNOWN_TYPE = 'application/octet-stream';

const token = "[\\w!#$%&'*+.^`|~-]+";
/** It becomes a header, so nothing in it may end a line (RFC 9110 §8.3.1). */
const mediaType = new RegExp(
  `^${token}/${token}(?:[ \\t]*;[ \\t]*${token}=(?:${token}|"[ !#-\\[\\]-~]*"))*$`,
);

/** The last part of what may be a path of any system; null when it names no file. */
const baseName = (text: string | null): string | null => {
  const name = text?.split(/[/\\]/).at(-1)?.trim() ?? '';
  return name === '' || name === '.' || name === '..' ? null : name;
};

const typeOfName = (name: string): string | undefined => {
  const extension = /\.([^.]+)$/.exec(name)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(TYPES, extension) ? TYPES[extension] : undefined;
};

const nameOfType = (type: string | null): string => {
  const plain = type?.split(';')[0]?.trim().toLowerCase();
  const extension = Object.keys(TYPES).find((known) => TYPES[known] === plain);
  return extension ? `file.${extension}` : 'file';
};

/** @throws RejectError when the type stated is none */
export const nameAttachment = (naming: Naming): { name: string; type: string } => {
  const stated = naming.type?.trim() || null;
  if (stated !== null && !mediaType.test(stated)) {
    throw new RejectError('attachment_type is no media type', 'bad-request');
  }
  const name = baseName(naming.name) ?? baseName(naming.path) ?? nameOfType(stated);
  return { name, type: stated ?? typeOfName(name) ?? UNKNOWN_TYPE };
};
