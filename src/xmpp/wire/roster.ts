/** The roster: what the server tells of it, and what it is told (RFC 6121 §2). */
import { type Element, xml } from '@xmpp/client';
import { readBareJid } from './jid.ts';
import { formatElement } from './xml.ts';

const NS = 'jabber:iq:roster';

export type RosterItem = {
  /** Bare, in its normal form. */
  jid: string;
  name: string | null;
  groups: string[];
  subscription: 'none' | 'to' | 'from' | 'both';
  ask: 'subscribe' | null;
  /** Whether a request of the contact is granted already (RFC 6121 §3.4). */
  approved: boolean;
};

const SUBSCRIPTIONS = ['none', 'to', 'from', 'both'] as const;

const isTrue = (text: string | undefined): boolean => text === 'true' || text === '1';

const readItem = (element: Element): RosterItem | null => {
  const { jid: address, name, subscription, ask, approved } = element.attrs;
  const jid = readBareJid(address);
  if (jid === null) return null;
  const groups = element.getChildren('group').map((group) => group.text());
  return {
    jid,
    name: name || null,
    groups: [...new Set(groups.filter((group) => group !== ''))],
    subscription: SUBSCRIPTIONS.find((known) => known === subscription) ?? 'none',
    ask: ask === 'subscribe' ? ask : null,
    approved: isTrue(approved),
  };
};

/**
 * The answer to a request for the roster.
 *
 * @returns null when the server says nothing of it; items whose JID no one could write to are left out
 */
export const readRoster = (iq: Element): RosterItem[] | null => {
  const query = iq.getChild('query', NS);
  if (!query) return null;
  const items = query.getChildren('item').flatMap((item) => readItem(item) ?? []);
  return [...new Map(items.map((item) => [item.jid, item])).values()];
};

export type RosterPush = { jid: string; item: RosterItem | null };

/** Whether it says of itself that it is a push; who may is for others to judge (RFC 6121 §2.1.6). */
export const isRosterPush = (iq: Element): boolean =>
  iq.name === 'iq' && iq.attrs.type === 'set' && iq.getChild('query', NS) !== undefined;

/** @returns null for a push that has not exactly one item, or one with no JID; `item` null for one removed */
export const readRosterPush = (iq: Element): RosterPush | null => {
  const elements = iq.getChild('query', NS)?.getChildren('item') ?? [];
  const [element] = elements;
  const item = element && elements.length === 1 ? readItem(element) : null;
  if (!element || !item) return null;
  return { jid: item.jid, item: element.attrs.subscription === 'remove' ? null : item };
};

export const ROSTER_QUERY = `<query xmlns='${NS}'/>`;

const formatQuery = (item: Element): string => formatElement(xml('query', { xmlns: NS }, item));

/** @throws RejectError when the name or a group has a character that XML does not allow */
export const formatRosterSet = ({
  jid,
  name,
  groups,
}: Pick<RosterItem, 'jid' | 'name'> & { groups: readonly string[] }): string =>
  formatQuery(
    xml('item', { jid, ...(name && { name }) }, ...groups.map((group) => xml('group', {}, group))),
  );

export const formatRosterRemove = (jid: string): string =>
  formatQuery(xml('item', { jid, subscription: 'remove' }));
