/** Pictures by publish-subscribe: what is published and asked for, and what of the answer counts (XEP-0084). */
import type { Element } from '@xmpp/client';
import {
  type AvatarInfo,
  avatarDataNs,
  avatarMetadataNs,
  formatAvatarData,
  formatAvatarMetadata,
  readAvatarData,
  readAvatarMetadata,
} from '../../xmpp/wire/avatar.ts';
import { formatItemsQuery, formatPublish, readPubsubItems } from '../../xmpp/wire/pubsub.ts';
import type { Avatar } from './picture.ts';

export const PNG = 'image/png';

export const formatDataPublish = ({ hash, bytes }: Avatar): string =>
  formatPublish({
    node: avatarDataNs,
    id: hash,
    payload: formatAvatarData(bytes),
  });

/** @param avatar null for none any more */
export const formatMetadataPublish = (avatar: Avatar | null): string => {
  const info = avatar && {
    ...avatar,
    mediaType: PNG,
    sizeBytes: avatar.bytes.length,
    url: null,
  };
  return formatPublish({
    node: avatarMetadataNs,
    id: avatar?.hash ?? null,
    payload: formatAvatarMetadata(info),
  });
};

export const formatMetadataQuery = (): string =>
  formatItemsQuery({ node: avatarMetadataNs, maxItems: 1 });

export const formatDataQuery = (hash: string): string =>
  formatItemsQuery({ node: avatarDataNs, ids: [hash] });

/**
 * The picture that is in the node itself: one that is elsewhere is not fetched.
 *
 * @returns null for what is no metadata; `info` null where there is no picture
 */
export const chooseAvatar = (
  metadata: Element | null | undefined,
): { info: AvatarInfo | null } | null => {
  const infos = readAvatarMetadata(metadata);
  return infos && { info: infos.find(({ url }) => url === null) ?? null };
};

export const readMetadataAnswer = (iq: Element): { info: AvatarInfo | null } | null => {
  const items = readPubsubItems(iq.getChild('pubsub'))?.items ?? [];
  return chooseAvatar(items.at(-1)?.payload);
};

/** @returns null for an answer without those bytes */
export const readDataAnswer = (iq: Element, hash: string): Buffer | null => {
  const items = readPubsubItems(iq.getChild('pubsub'))?.items ?? [];
  return readAvatarData(items.find(({ id }) => id?.trim().toLowerCase() === hash)?.payload);
};
