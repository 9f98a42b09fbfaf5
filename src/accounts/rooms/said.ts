/** What a message to all in a room is to one who is in it: one of its own, something new, or nothing. */
import type { Element } from '@xmpp/client';
import { readOccupantJid, readSubject } from '../../xmpp/wire/muc.ts';
import type { Incoming } from '../stanzas.ts';

const NS_STANZA_ID = 'urn:xmpp:sid:0';

/** By this a message is known again in a room that gives no ids. */
export const seenKey = ({ from, id, body }: Pick<Incoming, 'from' | 'id' | 'body'>): string =>
  `${from} ${id} ${body}`;

export type Listener = {
  /** Under which the account's messages are shown. */
  ownNicks: readonly (string | null)[];
  /** Whether the daemon has signed it. */
  isRowId(id: string): boolean;
  /** What the room may tell again. */
  seen: ReadonlySet<string> | null;
  /** It is in the room for the first time and is told what was said before. */
  isNewcomer: boolean;
};

export type Heard =
  /** Our own, with the id of its row. */
  | { kind: 'own'; id: string }
  | { kind: 'new'; incoming: Incoming }
  /** Said before the account was first here; told again, it is as old as before. */
  | { kind: 'before'; key: string }
  | { kind: 'nothing' };

const NOTHING: Heard = { kind: 'nothing' };

/** The sender's own ids, of which a room may change that of the stanza. */
const readIds = (message: Element): string[] => {
  const originId = message.getChild('origin-id', NS_STANZA_ID)?.attrs.id;
  return [originId, message.attrs.id].flatMap((id) => id ?? []);
};

/** @param incoming the message as a row; null when there is nothing to keep */
export const judgeSaid = (
  message: Element,
  incoming: Incoming | null,
  { ownNicks, isRowId, seen, isNewcomer }: Listener,
): Heard => {
  const nick = readOccupantJid(message.attrs.from)?.nick ?? null;
  const ownId = nick !== null && ownNicks.includes(nick) && readIds(message).find(isRowId);
  if (ownId) return { kind: 'own', id: ownId };
  const isNotice = nick === null && !message.getChild('body');
  if (!incoming || isNotice || readSubject(message) !== null) return NOTHING;
  if (incoming.delayedAt) {
    const key = seenKey(incoming);
    if (seen?.has(key)) return NOTHING;
    if (isNewcomer) return { kind: 'before', key };
  }
  return { kind: 'new', incoming };
};
