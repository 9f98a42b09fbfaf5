/** Pictures of people: their hash in presence (XEP-0153), and as published data (XEP-0084). */
import type { Element } from '@xmpp/client';
import { parseBase64, parseCount } from './scalar.ts';
import { formatTag, formatTextTag } from './tag.ts';

const vcardUpdateNs = 'vcard-temp:x:update';
export const avatarDataNs = 'urn:xmpp:avatar:data';
export const avatarMetadataNs = 'urn:xmpp:avatar:metadata';

export type AvatarInfo = {
  /** The SHA-1 of the picture in lower-case hexadecimal, which is the id of its item. */
  hash: string;
  mediaType: string | null;
  sizeBytes: number | null;
  width: number | null;
  height: number | null;
  /** Where it is, if it is not in the data node. */
  url: string | null;
};

const readHash = (text: string | null | undefined): string | null => {
  const hash = text?.trim().toLowerCase() ?? '';
  return /^[0-9a-f]{40}$/.test(hash) ? hash : null;
};

/** @param hash null while it is not known what there is (XEP-0153 §3.1), '' for no picture */
export const formatPhotoHash = (hash: string | null): string =>
  formatTag('x', { xmlns: vcardUpdateNs }, formatTextTag('photo', hash));

/** @returns null when the presence does not say, or says no hash; '' for no picture */
export const readPhotoHash = (presence: Element): string | null => {
  const photo = presence.getChild('x', vcardUpdateNs)?.getChildText('photo', vcardUpdateNs);
  return photo?.trim() === '' ? '' : readHash(photo);
};

/** @param info null for no picture any more (XEP-0084 §4.2.3) */
export const formatAvatarMetadata = (info: AvatarInfo | null): string => {
  if (info === null) return formatTag('metadata', { xmlns: avatarMetadataNs });
  const { hash: id, mediaType: type, sizeBytes: bytes, width, height, url } = info;
  const tag = formatTag('info', { bytes, height, id, type, url, width });
  return formatTag('metadata', { xmlns: avatarMetadataNs }, tag);
};

const readInfo = ({ attrs }: Element): AvatarInfo[] => {
  const hash = readHash(attrs.id);
  if (hash === null) return [];
  return [
    {
      hash,
      mediaType: attrs.type || null,
      sizeBytes: parseCount(attrs.bytes),
      width: parseCount(attrs.width),
      height: parseCount(attrs.height),
      url: attrs.url || null,
    },
  ];
};

/** @returns the same picture in several types; none for no picture, null for what is no metadata */
export const readAvatarMetadata = (payload: Element | null | undefined): AvatarInfo[] | null =>
  payload?.is('metadata', avatarMetadataNs)
    ? payload.getChildren('info', avatarMetadataNs).flatMap(readInfo)
    : null;

export const formatAvatarData = (data: Uint8Array): string =>
  formatTextTag('data', Buffer.from(data).toString('base64'), { xmlns: avatarDataNs });

/** @returns null for what is no picture's data; whether it has the hash asked for is to be checked */
export const readAvatarData = (payload: Element | null | undefined): Buffer | null => {
  const data = payload?.is('data', avatarDataNs) ? parseBase64(payload.text()) : null;
  return data?.length ? data : null;
};
