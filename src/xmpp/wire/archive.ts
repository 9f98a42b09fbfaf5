/** Queries to a message archive, and what it sends (XEP-0313). */
import type { Element } from '@xmpp/client';
import { detachElement } from './detach.ts';
import { formatSubmit } from './form.ts';
import { formatPageQuery, type Page, type PageQuery, readPage } from './rsm.ts';
import { formatDateTime, parseDateTime } from './scalar.ts';
import { formatTag } from './tag.ts';

export const archiveNs = 'urn:xmpp:mam:2';
const forwardNs = 'urn:xmpp:forward:0';
const delayNs = 'urn:xmpp:delay';

export type ArchiveQuery = {
  /** Comes back in every result, so that those of two queries can be told apart. */
  queryId: string;
  /** Messages to or from this address only. */
  with?: string | null;
  start?: Date | null;
  end?: Date | null;
  page?: Partial<PageQuery> | null;
};

/** How a query ended. */
export type ArchiveEnd = {
  /** Whether this was the last page in its direction. */
  isComplete: boolean;
  /** Whether the results will stay as they are; an unstable page may be asked for again (§4.3). */
  isStable: boolean;
  page: Page | null;
};

export type ArchiveResult = {
  queryId: string | null;
  /** The archive id (XEP-0359 by the archive's owner). */
  id: string;
  archivedAt: Date | null;
  message: Element;
};

/** The payload of an iq `set`. */
export const formatArchiveQuery = (query: ArchiveQuery): string => {
  const values = {
    with: query.with ?? null,
    start: query.start ? formatDateTime(query.start) : null,
    end: query.end ? formatDateTime(query.end) : null,
  };
  const isFiltered = Object.values(values).some((value) => value !== null);
  return formatTag(
    'query',
    { xmlns: archiveNs, queryid: query.queryId },
    (isFiltered ? formatSubmit(archiveNs, values) : '') +
      (query.page ? formatPageQuery(query.page) : ''),
  );
};

/** @returns null for what is no `<fin/>` */
export const readArchiveEnd = (fin: Element | null | undefined): ArchiveEnd | null => {
  if (!fin?.is('fin', archiveNs)) return null;
  const { complete, stable } = fin.attrs;
  return {
    isComplete: complete === 'true' || complete === '1',
    isStable: stable !== 'false' && stable !== '0',
    page: readPage(fin),
  };
};

/**
 * A message out of the archive. Anybody can send one like it: the caller has to make sure that it comes
 * from the archive that was asked, and that the query is one of ours (§8.2).
 *
 * @returns null for any other message
 */
export const readArchiveResult = (stanza: Element): ArchiveResult | null => {
  const result = stanza.getChild('result', archiveNs);
  const forwarded = result?.getChild('forwarded', forwardNs);
  const message = forwarded?.getChild('message');
  const id = result?.attrs.id;
  if (!result || !message || !id) return null;
  return {
    queryId: result.attrs.queryid ?? null,
    id,
    archivedAt: parseDateTime(forwarded?.getChild('delay', delayNs)?.attrs.stamp),
    message: detachElement(message),
  };
};
