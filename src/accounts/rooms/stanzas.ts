/** What rooms and their visitors say to each other, as far as it is not a message to all (XEP-0045). */
import type { Element } from '@xmpp/client';
import { readStanzaError, type StanzaError } from '../../xmpp/wire/error.ts';
import { formatJid, readJidParts } from '../../xmpp/wire/jid.ts';
import { formatTag, formatTextTag } from '../../xmpp/wire/tag.ts';

export const NS_MUC = 'http://jabber.org/protocol/muc';
const NS_MUC_USER = `${NS_MUC}#user`;
const NS_MUC_OWNER = `${NS_MUC}#owner`;
const NS_DIRECT_INVITE = 'jabber:x:conference';
const NS_OCCUPANT_ID = 'urn:xmpp:occupant-id:0';
const NS_STANZA_ID = 'urn:xmpp:sid:0';

/** A presence that a room sends of one who is in it. */
export type RoomPresence = {
  type: 'available' | 'unavailable' | 'error';
  /** Null when it comes from the room itself. */
  nick: string | null;
  statuses: readonly number[];
  role: string;
  affiliation: string;
  /** The real JID, where the room shows it. */
  jid: string | null;
  /** The nick that the occupant takes (303). */
  newNick: string | null;
  /** Who is behind it, such as behind a kick, and why. */
  actor: string | null;
  reason: string | null;
  show: string | null;
  status: string | null;
  occupantId: string | null;
  destroyed: { alternate: string | null; reason: string | null } | null;
  error: StanzaError | null;
};

const SHOWN = ['away', 'chat', 'dnd', 'xa'];

/** The bare address a stanza is from, and the nick behind it; null for what has none. */
export const readSender = (stanza: Element): { bare: string; nick: string | null } | null => {
  const jid = readJidParts(stanza.attrs.from);
  return jid && { bare: formatJid({ ...jid, resource: null }), nick: jid.resource };
};

/** @returns null for a presence that says nothing of an occupant, such as a request to subscribe */
export const readRoomPresence = (stanza: Element): RoomPresence | null => {
  const { type = 'available' } = stanza.attrs;
  if (type !== 'available' && type !== 'unavailable' && type !== 'error') return null;
  const x = stanza.getChild('x', NS_MUC_USER);
  const item = x?.getChild('item');
  const destroy = x?.getChild('destroy');
  const actor = item?.getChild('actor')?.attrs;
  const show = stanza.getChildText('show');
  return {
    type,
    nick: readSender(stanza)?.nick ?? null,
    statuses: x?.getChildren('status').map(({ attrs }) => Number(attrs.code)) ?? [],
    role: item?.attrs.role ?? 'none',
    affiliation: item?.attrs.affiliation ?? 'none',
    jid: item?.attrs.jid ?? null,
    newNick: item?.attrs.nick ?? null,
    actor: actor?.nick ?? actor?.jid ?? null,
    reason: item?.getChildText('reason') || null,
    show: show !== null && SHOWN.includes(show) ? show : null,
    status: stanza.getChildText('status') || null,
    occupantId: stanza.getChild('occupant-id', NS_OCCUPANT_ID)?.attrs.id ?? null,
    destroyed: destroy
      ? { alternate: destroy.attrs.jid ?? null, reason: destroy.getChildText('reason') || null }
      : null,
    error: type === 'error' ? readStanzaError(stanza) : null,
  };
};

/** What tells a message to all from another, besides its content. */
export type RoomMessage = {
  nick: string | null;
  /** The subject of the room, when the message is there to set it (§8.1). */
  newSubject: string | null;
  hasBody: boolean;
  /** The sender's own ids, of which a room may change the first. */
  ids: string[];
};

export const readRoomMessage = (stanza: Element): RoomMessage => {
  const hasBody = stanza.getChild('body') !== undefined;
  const subject = stanza.getChild('subject');
  const { id } = stanza.attrs;
  const originId = stanza.getChild('origin-id', NS_STANZA_ID)?.attrs.id;
  return {
    nick: readSender(stanza)?.nick ?? null,
    newSubject: subject && !hasBody && !stanza.getChild('thread') ? subject.text() : null,
    hasBody,
    ids: [originId, id].flatMap((each) => each ?? []),
  };
};

export type Invite = {
  roomJid: string;
  from: string | null;
  reason: string | null;
  password: string | null;
  isDirect: boolean;
};

/**
 * An invitation to a room, through it (§7.8.2) or from the inviter (XEP-0249).
 *
 * @returns 'spoofed' when somebody speaks as if he were a room; null for another message
 */
export const readInvite = (stanza: Element): Invite | 'spoofed' | null => {
  if (stanza.attrs.type === 'error') return null;
  const sender = readSender(stanza);
  const x = stanza.getChild('x', NS_MUC_USER);
  const invite = x?.getChild('invite');
  if (x && invite) {
    if (!sender || sender.nick !== null || !sender.bare.includes('@')) return 'spoofed';
    return {
      roomJid: sender.bare,
      from: invite.attrs.from ?? null,
      reason: invite.getChildText('reason') || null,
      password: x.getChildText('password'),
      isDirect: false,
    };
  }
  const direct = stanza.getChild('x', NS_DIRECT_INVITE);
  const room = readJidParts(direct?.attrs.jid);
  if (!direct || !room || room.local === null || stanza.attrs.type === 'groupchat') return null;
  return {
    roomJid: formatJid({ ...room, resource: null }),
    from: stanza.attrs.from ?? null,
    reason: direct.attrs.reason || null,
    password: direct.attrs.password ?? null,
    isDirect: true,
  };
};

export type Availability = { show: string | null; status: string | null };

const formatAvailability = ({ show, status }: Availability): string =>
  formatTextTag('show', show) + formatTextTag('status', status);

export type History = { maxStanzas: number } | { seconds: number };

const formatHistory = (history: History): string =>
  'seconds' in history
    ? formatTag('history', { seconds: history.seconds })
    : formatTag('history', { maxstanzas: history.maxStanzas });

/** @param to the room with the wanted nick as resource */
export const formatJoin = (
  to: string,
  password: string | null,
  history: History,
  availability: Availability,
): string =>
  formatTag(
    'presence',
    { to },
    formatAvailability(availability) +
      formatTag(
        'x',
        { xmlns: NS_MUC },
        formatTextTag('password', password) + formatHistory(history),
      ),
  );

/** A change of nick, or of what others see of us. */
export const formatRoomPresence = (to: string, availability: Availability): string =>
  formatTag('presence', { to }, formatAvailability(availability));

export const formatLeave = (to: string): string =>
  formatTag('presence', { to, type: 'unavailable' });

/** The answer of one who is invited through the room and does not come (§7.8.3). */
export const formatDecline = (roomJid: string, inviter: string): string =>
  formatTag(
    'message',
    { to: roomJid },
    formatTag('x', { xmlns: NS_MUC_USER }, formatTag('decline', { to: inviter })),
  );

/** Opens a room that our entering has made, with the settings it has (§10.1.2). */
export const INSTANT_ROOM = formatTag(
  'query',
  { xmlns: NS_MUC_OWNER },
  formatTag('x', { xmlns: 'jabber:x:data', type: 'submit' }),
);

export const PING = formatTag('ping', { xmlns: 'urn:xmpp:ping' });
