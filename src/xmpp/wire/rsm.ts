/** Results by pages (XEP-0059). */
import type { Element } from '@xmpp/client';
import { parseCount } from './scalar.ts';
import { formatTag, formatTextTag } from './tag.ts';

const rsmNs = 'http://jabber.org/protocol/rsm';

/** `before` is the empty text for the last page (§2.5). At most one of the last three is stated. */
export type PageQuery = {
  max: number | null;
  before: string | null;
  after: string | null;
  index: number | null;
};

export type Page = {
  /** The ids that the next query starts from; null on an empty page. */
  first: string | null;
  last: string | null;
  /** Where `first` stands in all of it. */
  firstIndex: number | null;
  /** Of all results, as far as it is known. */
  count: number | null;
};

export const formatPageQuery = (query: Partial<PageQuery>): string =>
  formatTag(
    'set',
    { xmlns: rsmNs },
    formatTextTag('max', query.max) +
      formatTextTag('before', query.before) +
      formatTextTag('after', query.after) +
      formatTextTag('index', query.index),
  );

/** @param parent what holds the `<set/>` @returns null when there is none; wrong numbers are null */
export const readPage = (parent: Element): Page | null => {
  const set = parent.getChild('set', rsmNs);
  if (!set) return null;
  return {
    first: set.getChildText('first', rsmNs),
    last: set.getChildText('last', rsmNs),
    firstIndex: parseCount(set.getChild('first', rsmNs)?.attrs.index),
    count: parseCount(set.getChildText('count', rsmNs)),
  };
};
