/** What every entity answers about itself: a ping (XEP-0199), its version (XEP-0092), its time (XEP-0202). */
import type { Element } from '@xmpp/client';
import { formatDateTime } from './scalar.ts';
import { formatTag, formatTextTag } from './tag.ts';

export const pingNs = 'urn:xmpp:ping';
export const versionNs = 'jabber:iq:version';
export const timeNs = 'urn:xmpp:time';

/** What the payload of a `get` asks for. @returns null for anything else */
export const readEntityQuery = (payload: Element): 'ping' | 'version' | 'time' | null => {
  if (payload.is('ping', pingNs)) return 'ping';
  if (payload.is('query', versionNs)) return 'version';
  return payload.is('time', timeNs) ? 'time' : null;
};

export const formatPing = (): string => formatTag('ping', { xmlns: pingNs });

/** The operating system is kept to oneself (XEP-0092 §5). */
export const formatVersion = ({ name, version }: { name: string; version: string }): string =>
  formatTag(
    'query',
    { xmlns: versionNs },
    formatTextTag('name', name) + formatTextTag('version', version),
  );

/** The zone is UTC, too: an account is in no place. */
export const formatTime = (at: Date): string =>
  formatTag(
    'time',
    { xmlns: timeNs },
    formatTextTag('tzo', '+00:00') + formatTextTag('utc', formatDateTime(at)),
  );

/**
 * The answer to what a `get` asks for.
 *
 * @returns the payload of the result; null for what is none of these three
 */
export const answerEntityQuery = (payload: Element, version: string, now: Date): string | null => {
  switch (readEntityQuery(payload)) {
    case 'ping':
      return '';
    case 'version':
      return formatVersion({ name: 'Rowgram', version });
    case 'time':
      return formatTime(now);
    default:
      return null;
  }
};
