/** Invitations to rooms: through the room (XEP-0045 §7.8.2), and direct (XEP-0249). */
import type { Element } from '@xmpp/client';
import { mucUserNs } from './muc.ts';
import { formatTag } from './tag.ts';

export const directInviteNs = 'jabber:x:conference';

export type MediatedInvite = {
  /** Who invites, as the room says. */
  from: string | null;
  reason: string | null;
  /** The room's, which it may add. */
  password: string | null;
};

export type DirectInvite = {
  /** The room's address, to be parsed like all that a peer states. */
  room: string;
  reason: string | null;
  password: string | null;
};

/**
 * Anybody can send one: whether the sender is a room is for the caller to judge.
 *
 * @returns null for a message that is no invitation, errors included
 */
export const readMediatedInvite = (message: Element): MediatedInvite | null => {
  const x = message.attrs.type === 'error' ? undefined : message.getChild('x', mucUserNs);
  const invite = x?.getChild('invite', mucUserNs);
  if (!x || !invite) return null;
  return {
    from: invite.attrs.from ?? null,
    reason: invite.getChildText('reason', mucUserNs) || null,
    password: x.getChildText('password', mucUserNs),
  };
};

/** @returns null for a message that is no direct invitation, errors and messages to all included */
export const readDirectInvite = (message: Element): DirectInvite | null => {
  const { type } = message.attrs;
  const { attrs } = message.getChild('x', directInviteNs) ?? {};
  if (type === 'error' || type === 'groupchat' || !attrs?.jid) return null;
  return { room: attrs.jid, reason: attrs.reason || null, password: attrs.password ?? null };
};

/** The answer of one who is invited through the room and does not come (§7.8.3). */
export const formatDecline = (room: string, inviter: string): string =>
  formatTag(
    'message',
    { to: room },
    formatTag('x', { xmlns: mucUserNs }, formatTag('decline', { to: inviter })),
  );
