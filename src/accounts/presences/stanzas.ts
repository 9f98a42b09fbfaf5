/** Presence of others as it comes in (RFC 6121 §4). */
import type { Element } from '@xmpp/client';
import { readPhotoHash } from '../../xmpp/wire/avatar.ts';
import { describeStanzaError, readStanzaError } from '../../xmpp/wire/error.ts';
import { bareJid, formatJid, parseJid } from '../../xmpp/wire/jid.ts';

import { mucNs, mucUserNs } from '../../xmpp/wire/muc.ts';
import { type Availability, readAvailability } from '../../xmpp/wire/presence.ts';

export type Address = { jid: string; bareJid: string };

/** Who is available, as a row. */
export type Presence = Address &
  Availability & {
    priority: number;
    /** Empty where it says that there is no picture, null where it does not say (XEP-0153 §3.2). */
    avatarHash: string | null;
  };

export type Notice =
  | { kind: 'available'; presence: Presence }
  /** Without a resource, all of them. */
  | { kind: 'gone'; address: Address; error: string | null };

/** Resources that only older servers allow are taken as they are: they are nobody's but their sender's. */
export const readSender = (from: string): Address | null => {
  const slash = from.indexOf('/');
  try {
    const bare = bareJid(slash === -1 ? from : from.slice(0, slash));
    try {
      return { jid: formatJid(parseJid(from)), bareJid: bare };
    } catch {
      return { jid: bare + from.slice(slash), bareJid: bare };
    }
  } catch {
    return null;
  }
};

const readPriority = (text: string | null): number => {
  const priority = /^\s*[+-]?\d{1,3}\s*$/.test(text ?? '') ? Number(text) : 0;
  return priority >= -128 && priority <= 127 ? priority : 0;
};

/** @returns null for what says nothing of a person: subscriptions, and those in rooms (XEP-0045) */
export const readNotice = (stanza: Element): Notice | null => {
  const { from, type } = stanza.attrs;
  const address = from ? readSender(from) : null;
  if (stanza.name !== 'presence' || !address) return null;
  if (stanza.getChild('x', mucUserNs) || stanza.getChild('x', mucNs)) return null;
  if (type === 'unavailable') return { kind: 'gone', address, error: null };
  if (type === 'error') {
    return { kind: 'gone', address, error: describeStanzaError(readStanzaError(stanza)) };
  }
  if (type !== undefined) return null;
  const presence = {
    ...address,
    ...readAvailability(stanza),
    priority: readPriority(stanza.getChildText('priority')),
    avatarHash: readPhotoHash(stanza),
  };
  return { kind: 'available', presence };
};
