/** Rooms as one who enters them sees them: presence and subject (XEP-0045), ids of occupants (XEP-0421). */
import type { Element } from '@xmpp/client';
import { readStanzaError, type StanzaError } from './error.ts';
import { formatForm } from './form.ts';
import { formatJid, readJidParts } from './jid.ts';
import { type Availability, formatAvailability, readAvailability } from './presence.ts';
import { parseCount } from './scalar.ts';
import { formatTag, formatTextTag } from './tag.ts';

export const mucNs = 'http://jabber.org/protocol/muc';
export const mucUserNs = 'http://jabber.org/protocol/muc#user';
const mucOwnerNs = 'http://jabber.org/protocol/muc#owner';
const occupantIdNs = 'urn:xmpp:occupant-id:0';

const affiliations = ['owner', 'admin', 'member', 'none', 'outcast'] as const;
const roles = ['moderator', 'participant', 'visitor', 'none'] as const;

export type Affiliation = (typeof affiliations)[number];
export type Role = (typeof roles)[number];

/** What a room tells of one who is in it, or was. */
export type OccupantPresence = Availability & {
  type: 'available' | 'unavailable';
  /** Null when it comes from the room itself. */
  nick: string | null;
  /** What is missing or unknown is `none`. */
  affiliation: Affiliation;
  role: Role;
  /** The real one, where the room shows it. */
  jid: string | null;
  occupantId: string | null;
  /** Among them 110, which marks one's own presence (§15.6.2). */
  statusCodes: number[];
  /** Who is behind it, such as behind a kick, and why. */
  actor: string | null;
  reason: string | null;
  /** With 303: the nick that is taken for this one (§7.6). */
  newNick: string | null;
  /** The room is no more; `alternate` is the one to go to. */
  destroyed: { alternate: string | null; reason: string | null } | null;
};

/** A room answers a presence of ours, to enter it or with another nick. */
export type RoomPresence = OccupantPresence | { type: 'error'; error: StanzaError };

/**
 * Whom a room's stanza is from: an occupant, or with no nick the room.
 *
 * @param from as stated @returns null for no address; else prepared
 */
export const readOccupantJid = (
  from: string | undefined,
): { room: string; nick: string | null } | null => {
  const jid = readJidParts(from);
  return jid && { room: formatJid({ ...jid, resource: null }), nick: jid.resource };
};

/**
 * To be believed only of a room that says it has the feature, and that has taken others' out (XEP-0421 §5).
 *
 * @param stanza a presence or a message @returns null when there is none
 */
export const readOccupantId = (stanza: Element): string | null =>
  stanza.getChild('occupant-id', occupantIdNs)?.attrs.id || null;

const reasonOf = (parent: Element | undefined): string | null =>
  parent?.getChildText('reason', mucUserNs) || null;

const readItem = (item: Element | undefined) => {
  const actor = item?.getChild('actor', mucUserNs)?.attrs;
  return {
    affiliation: affiliations.find((known) => known === item?.attrs.affiliation) ?? 'none',
    role: roles.find((known) => known === item?.attrs.role) ?? 'none',
    jid: item?.attrs.jid ?? null,
    actor: actor?.nick ?? actor?.jid ?? null,
    reason: reasonOf(item),
  };
};

const readDestroyed = (x: Element | undefined): OccupantPresence['destroyed'] => {
  const destroy = x?.getChild('destroy', mucUserNs);
  return destroy ? { alternate: destroy.attrs.jid ?? null, reason: reasonOf(destroy) } : null;
};

/**
 * @param presence of a room; one that lacks what marks it as such is read all the same, since gateways to
 *   other networks leave it out
 * @returns null for one that says nothing of an occupant, such as a request to subscribe
 */
export const readRoomPresence = (presence: Element): RoomPresence | null => {
  const { type = 'available', from } = presence.attrs;
  if (type === 'error') return { type, error: readStanzaError(presence) };
  if (type !== 'available' && type !== 'unavailable') return null;
  const x = presence.getChild('x', mucUserNs);
  const item = x?.getChild('item', mucUserNs);
  const statusCodes = (x?.getChildren('status', mucUserNs) ?? []).flatMap(
    ({ attrs }) => parseCount(attrs.code) ?? [],
  );
  return {
    type,
    nick: readOccupantJid(from)?.nick ?? null,
    ...readAvailability(presence),
    ...readItem(item),
    occupantId: readOccupantId(presence),
    statusCodes,
    newNick: statusCodes.includes(303) ? item?.attrs.nick || null : null,
    destroyed: readDestroyed(x),
  };
};

/** How much of what was said before is sent (§7.2.14). */
export type History = { maxStanzas: number } | { seconds: number };

const formatHistory = (history: History): string =>
  'seconds' in history
    ? formatTag('history', { seconds: history.seconds })
    : formatTag('history', { maxstanzas: history.maxStanzas });

/**
 * Enters a room. A password or history takes effect only in this very presence (§7.2.1).
 *
 * @param join `to` is the room with the wanted nick as resource
 * @throws RejectError when a text has a character that XML does not allow
 */
export const formatJoin = (join: {
  to: string;
  password: string | null;
  history: History;
  availability: Availability;
}): string =>
  formatTag(
    'presence',
    { to: join.to },
    formatAvailability(join.availability) +
      formatTag(
        'x',
        { xmlns: mucNs },
        formatTextTag('password', join.password) + formatHistory(join.history),
      ),
  );

/** The payload that opens a room which our entering has made, with the settings it has (§10.1.2). */
export const formatInstantRoom = (): string =>
  formatTag('query', { xmlns: mucOwnerNs }, formatForm({ type: 'submit' }));

/**
 * The room's subject, if that is what the message is for. It comes even when there is none: then it is the
 * empty text, and ends the history (§7.2.15).
 *
 * @returns null for all other messages, those included that have a body or thread beside a subject (§8.1)
 */
export const readSubject = (message: Element): string | null => {
  const isForAll = message.name === 'message' && message.attrs.type === 'groupchat';
  if (!isForAll || message.getChild('body') || message.getChild('thread')) return null;
  return message.getChildText('subject');
};
