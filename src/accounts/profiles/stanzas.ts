/** vCards (XEP-0054), pictures by publish-subscribe (XEP-0084), and their hash in presence (XEP-0153). */
import type { Element } from '@xmpp/client';
import { detachElement } from '../../xmpp/wire/detach.ts';
import { formatItemsQuery, formatPublish, readPubsubItems } from '../../xmpp/wire/pubsub.ts';
import { parseBase64, parseCount } from '../../xmpp/wire/scalar.ts';
import { formatTag, formatTextTag } from '../../xmpp/wire/tag.ts';
import { formatElement } from '../../xmpp/wire/xml.ts';
import type { ProfileFields } from './store.ts';

export const vcardNs = 'vcard-temp';
export const updateNs = 'vcard-temp:x:update';
export const dataNs = 'urn:xmpp:avatar:data';
export const metadataNs = 'urn:xmpp:avatar:metadata';
const mucUserNs = 'http://jabber.org/protocol/muc#user';

const PNG = 'image/png';
const OWN = new Set(['FN', 'NICKNAME', 'EMAIL', 'URL', 'DESC', 'PHOTO']);

export const formatVcardQuery = (): string => formatTag('vCard', { xmlns: vcardNs });

export type Vcard = {
  fields: ProfileFields;
  /** Null also for a picture that is but referred to. */
  photo: Buffer | null;
};

const textOf = (element: Element | undefined, name: string): string | null =>
  element?.getChildText(name, vcardNs)?.trim() || null;

/** @returns null for what is no vCard */
export const readVcard = (vcard: Element | null | undefined): Vcard | null => {
  if (!vcard?.is('vCard', vcardNs)) return null;
  const photo = parseBase64(textOf(vcard.getChild('PHOTO', vcardNs), 'BINVAL'));
  const email = vcard.getChild('EMAIL', vcardNs);
  return {
    fields: {
      fullName: textOf(vcard, 'FN'),
      nickname: textOf(vcard, 'NICKNAME'),
      // Old clients have the address where its parts should be.
      email: textOf(email, 'USERID') ?? (email?.text().trim() || null),
      url: textOf(vcard, 'URL'),
      description: textOf(vcard, 'DESC'),
    },
    photo: photo?.length ? photo : null,
  };
};

/**
 * @param vcard what is there, null for nothing: all that is none of ours is kept
 * @param avatar a PNG
 * @throws RejectError when a text has a character that XML does not allow
 */
export const rewriteVcard = (
  vcard: Element | null | undefined,
  { fullName, nickname, email, url, description }: ProfileFields,
  avatar: Buffer | null,
): string => {
  const kept = vcard?.is('vCard', vcardNs)
    ? vcard
        .getChildElements()
        .filter((child) => !OWN.has(child.getName()))
        .map((child) => formatElement(detachElement(child)))
    : [];
  const photo =
    avatar && formatTextTag('TYPE', PNG) + formatTextTag('BINVAL', avatar.toString('base64'));
  return formatTag(
    'vCard',
    { xmlns: vcardNs },
    formatTextTag('FN', fullName) +
      formatTextTag('NICKNAME', nickname) +
      (email === null
        ? ''
        : formatTag('EMAIL', {}, `<INTERNET/>${formatTextTag('USERID', email)}`)) +
      formatTextTag('URL', url) +
      formatTextTag('DESC', description) +
      (photo === null ? '' : formatTag('PHOTO', {}, photo)) +
      kept.join(''),
  );
};

/** @param bytes a PNG with that SHA-1 */
export const formatAvatarData = (hash: string, bytes: Buffer): string =>
  formatPublish({
    node: dataNs,
    id: hash,
    payload: formatTextTag('data', bytes.toString('base64'), { xmlns: dataNs }),
    options: null,
  });

/** @param avatar null for none any more (XEP-0084 §4.2.3) */
export const formatAvatarMetadata = (
  avatar: { hash: string; bytes: Buffer; width: number; height: number } | null,
): string => {
  const info = avatar && {
    id: avatar.hash,
    type: PNG,
    bytes: avatar.bytes.length,
    width: avatar.width,
    height: avatar.height,
  };
  return formatPublish({
    node: metadataNs,
    id: avatar?.hash ?? null,
    payload: formatTag('metadata', { xmlns: metadataNs }, info ? formatTag('info', info) : ''),
    options: null,
  });
};

export const formatMetadataQuery = (): string =>
  formatItemsQuery({ node: metadataNs, maxItems: 1 });

export const formatDataQuery = (hash: string): string =>
  formatItemsQuery({ node: dataNs, ids: [hash] });

export type AvatarInfo = { hash: string; sizeBytes: number | null };

const readHash = (text: string | null | undefined): string | null => {
  const hash = text?.trim().toLowerCase() ?? '';
  return /^[0-9a-f]{40}$/.test(hash) ? hash : null;
};

/**
 * The picture that is in the node itself, not one to be fetched from elsewhere.
 *
 * @returns null for what is no metadata; `info` null where there is no picture
 */
export const readAvatarMetadata = (
  metadata: Element | null | undefined,
): { info: AvatarInfo | null } | null => {
  if (!metadata?.is('metadata', metadataNs)) return null;
  const infos = metadata.getChildren('info', metadataNs).flatMap(({ attrs }) => {
    const hash = attrs.url === undefined ? readHash(attrs.id) : null;
    return hash ? [{ hash, sizeBytes: parseCount(attrs.bytes) }] : [];
  });
  return { info: infos[0] ?? null };
};

export const readMetadataAnswer = (iq: Element): { info: AvatarInfo | null } | null => {
  const items = readPubsubItems(iq.getChild('pubsub'))?.items ?? [];
  return readAvatarMetadata(items.at(-1)?.payload);
};

/** @returns null for an answer without those bytes */
export const readDataAnswer = (iq: Element, hash: string): Buffer | null => {
  const items = readPubsubItems(iq.getChild('pubsub'))?.items ?? [];
  const data = items.find(({ id }) => readHash(id) === hash)?.payload;
  const bytes = data?.is('data', dataNs) ? parseBase64(data.text()) : null;
  return bytes?.length ? bytes : null;
};

/** @param hash null while it is not known what there is (XEP-0153 §3.1), '' for no picture */
export const formatPhotoHash = (hash: string | null): string =>
  formatTag('x', { xmlns: updateNs }, formatTextTag('photo', hash));

/** @returns null when the presence does not say; '' for no picture. Occupants of rooms do not count */
export const readPhotoHash = (presence: Element): string | null => {
  if (presence.attrs.type !== undefined || presence.getChild('x', mucUserNs)) return null;
  const photo = presence.getChild('x', updateNs)?.getChild('photo', updateNs);
  if (!photo) return null;
  const text = photo.text().trim();
  return text === '' ? '' : readHash(text);
};
