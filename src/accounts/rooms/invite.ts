/** Which messages invite to a room, and which only pretend to. */
import type { Element } from '@xmpp/client';
import { readJidParts } from '../../xmpp/wire/jid.ts';
import { readOccupantJid } from '../../xmpp/wire/muc.ts';
import { readDirectInvite, readMediatedInvite } from '../../xmpp/wire/mucInvite.ts';

export type Invite = {
  roomJid: string;
  from: string | null;
  reason: string | null;
  password: string | null;
  isDirect: boolean;
};

const readDirect = (stanza: Element): Invite | null => {
  const invite = readDirectInvite(stanza);
  const room = readOccupantJid(invite?.room)?.room;
  if (!invite || !room?.includes('@')) return null;
  const { reason, password } = invite;
  return { roomJid: room, from: stanza.attrs.from ?? null, reason, password, isDirect: true };
};

/**
 * Of a message that holds both kinds, as some rooms send it, the one through the room counts.
 *
 * @returns 'spoofed' when somebody speaks as if he were a room; null for another message
 */
export const readInvite = (stanza: Element): Invite | 'spoofed' | null => {
  const invite = readMediatedInvite(stanza);
  if (!invite) return readDirect(stanza);
  const room = readJidParts(stanza.attrs.from);
  if (room?.resource !== null || room.local === null) return 'spoofed';
  return { roomJid: `${room.local}@${room.domain}`, ...invite, isDirect: false };
};
