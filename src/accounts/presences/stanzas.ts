/** Presence of others as it comes in (RFC 6121 §4). */
import type { Element } from '@xmpp/client';
import { describeStanzaError, readStanzaError } from '../../xmpp/wire/error.ts';
import { bareJid, formatJid, parseJid } from '../../xmpp/wire/jid.ts';

const NS_MUC = 'http://jabber.org/protocol/muc';
const NS_MUC_USER = `${NS_MUC}#user`;
const NS_AVATAR = 'vcard-temp:x:update';
const SHOWS = ['chat', 'away', 'xa', 'dnd'];

export type Address = { jid: string; bareJid: string };

/** Who is available, as a row. */
export type Presence = Address & {
  show: string | null;
  status: string | null;
  priority: number;
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

/** Source: XEP-0153 §3.2. An empty element says that there is no picture, a missing one nothing. */
const readAvatarHash = (stanza: Element): string | null => {
  const photo = stanza.getChild('x', NS_AVATAR)?.getChildText('photo')?.trim().toLowerCase();
  return photo === '' || /^[0-9a-f]{40}$/.test(photo ?? '') ? (photo ?? null) : null;
};

/** @returns null for what says nothing of a person: subscriptions, and those in rooms (XEP-0045) */
export const readNotice = (stanza: Element): Notice | null => {
  const { from, type } = stanza.attrs;
  const address = from ? readSender(from) : null;
  if (stanza.name !== 'presence' || !address) return null;
  if (stanza.getChild('x', NS_MUC_USER) || stanza.getChild('x', NS_MUC)) return null;
  if (type === 'unavailable') return { kind: 'gone', address, error: null };
  if (type === 'error') {
    return { kind: 'gone', address, error: describeStanzaError(readStanzaError(stanza)) };
  }
  if (type !== undefined) return null;
  const show = stanza.getChildText('show')?.trim() ?? '';
  const presence = {
    ...address,
    show: SHOWS.includes(show) ? show : null,
    status: stanza.getChildText('status') || null,
    priority: readPriority(stanza.getChildText('priority')),
    avatarHash: readAvatarHash(stanza),
  };
  return { kind: 'available', presence };
};
