/** Publish-subscribe (XEP-0060) and its personal form (XEP-0163), as a client uses them. */
import type { Element } from '@xmpp/client';
import { detachElement } from './detach.ts';
import { type Page, readPage } from './rsm.ts';
import { formatTag } from './tag.ts';

const pubsubNs = 'http://jabber.org/protocol/pubsub';
const pubsubEventNs = 'http://jabber.org/protocol/pubsub#event';

export type PubsubItem = {
  id: string | null;
  /** Who published it, where the service says so. */
  publisher: string | null;
  /** Null in a mere notification, and of a node without payloads. */
  payload: Element | null;
};

export type PubsubEvent =
  | { kind: 'items'; node: string; items: PubsubItem[]; retracted: string[] }
  | { kind: 'purge'; node: string }
  /** `redirect` is an xmpp: URI. */
  | { kind: 'delete'; node: string; redirect: string | null };

export type PubsubItems = { node: string; items: PubsubItem[]; page: Page | null };

const formatPubsub = (content: string): string => formatTag('pubsub', { xmlns: pubsubNs }, content);

const formatItem = (id: string | null, payload = ''): string => formatTag('item', { id }, payload);

/** @param item `id` null lets the service choose one; `payload` is XML, taken as it is */
export const formatPublish = (item: { node: string; id: string | null; payload: string }): string =>
  formatPubsub(formatTag('publish', { node: item.node }, formatItem(item.id, item.payload)));

/** @param query without ids or limits it asks for all items */
export const formatItemsQuery = (query: {
  node: string;
  ids?: string[];
  maxItems?: number | null;
}): string =>
  formatPubsub(
    formatTag(
      'items',
      { node: query.node, max_items: query.maxItems },
      (query.ids ?? []).map((id) => formatItem(id)).join(''),
    ),
  );

const readItems = (items: Element, ns: string): PubsubItem[] =>
  items.getChildren('item', ns).map((item) => {
    const [payload] = item.getChildElements();
    return {
      id: item.attrs.id ?? null,
      publisher: item.attrs.publisher ?? null,
      payload: payload ? detachElement(payload) : null,
    };
  });

const readRetracted = (items: Element): string[] =>
  items.getChildren('retract', pubsubEventNs).flatMap(({ attrs }) => (attrs.id ? [attrs.id] : []));

/**
 * What a service or contact tells of one of its nodes. Who it is, is the message's `from`.
 *
 * @returns null for all other messages, events about configuration and subscriptions included
 */
export const readPubsubEvent = (message: Element): PubsubEvent | null => {
  if (message.attrs.type === 'error') return null;
  const [change] = message.getChild('event', pubsubEventNs)?.getChildElements() ?? [];
  const node = change?.attrs.node;
  if (!change || !node || change.getNS() !== pubsubEventNs) return null;
  switch (change.getName()) {
    case 'items': {
      const items = readItems(change, pubsubEventNs);
      return { kind: 'items', node, items, retracted: readRetracted(change) };
    }
    case 'purge':
      return { kind: 'purge', node };
    case 'delete': {
      const redirect = change.getChild('redirect', pubsubEventNs)?.attrs.uri ?? null;
      return { kind: 'delete', node, redirect };
    }
    default:
      return null;
  }
};

/** The answer to `formatItemsQuery`. @returns null for what is none */
export const readPubsubItems = (pubsub: Element | null | undefined): PubsubItems | null => {
  const items = pubsub?.is('pubsub', pubsubNs) ? pubsub.getChild('items', pubsubNs) : undefined;
  const node = items?.attrs.node;
  if (!pubsub || !items || !node) return null;
  return { node, items: readItems(items, pubsubNs), page: readPage(pubsub) };
};
