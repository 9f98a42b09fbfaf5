/** What a publish-subscribe event changes, and whether its sender may say so. */
import type { Element } from '@xmpp/client';
import { bareJid, readJidParts } from '../../xmpp/wire/jid.ts';
import { type PubsubEvent, type PubsubItem, readPubsubEvent } from '../../xmpp/wire/pubsub.ts';
import { parseDateTime } from '../../xmpp/wire/scalar.ts';
import { formatElement } from '../../xmpp/wire/xml.ts';

const NS_DELAY = 'urn:xmpp:delay';

/** Items as they are to be; of a node that was emptied, all others go. */
export type NodeChange = {
  /** Who publishes: a bare JID in its normal form. */
  service: string;
  node: string;
  isEmptied: boolean;
  items: { id: string; payload: string | null }[];
  retracted: string[];
  /** Null for now. */
  publishedAt: Date | null;
};

const isBare = (text: string): boolean => readJidParts(text)?.resource === null;

/** The last one of each id, which may be missing. */
const readItems = (items: PubsubItem[]): NodeChange['items'] => {
  const byId = new Map(
    items.map(({ id, payload }) => [id ?? '', payload ? formatElement(payload) : null]),
  );
  return [...byId].map(([id, payload]) => ({ id, payload }));
};

const describeChange = (
  event: PubsubEvent,
): Pick<NodeChange, 'isEmptied' | 'items' | 'retracted'> =>
  event.kind === 'items'
    ? { isEmptied: false, items: readItems(event.items), retracted: event.retracted }
    : { isEmptied: true, items: [], retracted: [] };

/**
 * @param ownJid the account's bare JID in its normal form, for which a stanza without sender speaks
 * @returns null for what is no event; 'distrusted' when the sender speaks for another: services and accounts
 *   publish by their bare JID (XEP-0163 §4.3), so behind a resource is a client of theirs, or the occupant
 *   of a room
 */
export const readNodeChange = (
  message: Element,
  ownJid: string,
): NodeChange | 'distrusted' | null => {
  const event = readPubsubEvent(message);
  if (!event) return null;
  const from = message.attrs.from ?? ownJid;
  if (!isBare(from)) return 'distrusted';
  const stamp = message.getChild('delay', NS_DELAY)?.attrs.stamp;
  return {
    service: bareJid(from),
    node: event.node,
    ...describeChange(event),
    publishedAt: parseDateTime(stamp),
  };
};
