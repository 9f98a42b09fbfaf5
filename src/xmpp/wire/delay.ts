/** When a stanza that comes late was sent (XEP-0203, and XEP-0091 before it). */
import type { Element } from '@xmpp/client';

const NS_DELAY = 'urn:xmpp:delay';
const NS_LEGACY_DELAY = 'jabber:x:delay';

const readDate = (text: string | undefined): Date | null => {
  if (!text) return null;
  const legacy = /^(\d{4})(\d\d)(\d\d)T(\d\d:\d\d:\d\d)$/.exec(text);
  const date = new Date(legacy ? `${legacy[1]}-${legacy[2]}-${legacy[3]}T${legacy[4]}Z` : text);
  return Number.isNaN(date.getTime()) ? null : date;
};

/** @param parent the stanza, or the `<forwarded/>` around it @returns null without a time, or a broken one */
export const readDelay = (parent: Element): Date | null => {
  const delay = parent.getChild('delay', NS_DELAY) ?? parent.getChild('x', NS_LEGACY_DELAY);
  return readDate(delay?.attrs.stamp);
};
