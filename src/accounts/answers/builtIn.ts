/** Requests that every account answers by itself. */
import type { Element } from '@xmpp/client';
import { commandsNs } from '../../xmpp/wire/command.ts';
import { discoInfoNs, discoItemsNs } from '../../xmpp/wire/disco.ts';
import { dataNs } from '../../xmpp/wire/form.ts';
import { formatDateTime } from '../../xmpp/wire/scalar.ts';
import { formatTag, formatTextTag } from '../../xmpp/wire/tag.ts';

const NS_CAPS = 'http://jabber.org/protocol/caps';
const NS_PING = 'urn:xmpp:ping';
const NS_VERSION = 'jabber:iq:version';
const NS_TIME = 'urn:xmpp:time';
const NS_RECEIPTS = 'urn:xmpp:receipts';

/** What is answered here, and what the link does of itself with messages. */
export const FEATURES: readonly string[] = [
  NS_CAPS,
  commandsNs,
  discoInfoNs,
  discoItemsNs,
  NS_VERSION,
  dataNs,
  NS_PING,
  NS_RECEIPTS,
  NS_TIME,
];

const formatVersion = (version: string): string =>
  formatTag(
    'query',
    { xmlns: NS_VERSION },
    formatTextTag('name', 'Rowgram') + formatTextTag('version', version),
  );

const formatTime = (now: Date): string =>
  formatTag(
    'time',
    { xmlns: NS_TIME },
    formatTextTag('tzo', '+00:00') + formatTextTag('utc', formatDateTime(now)),
  );

/**
 * The answer to a request of the type get: XEP-0199, XEP-0092, XEP-0202.
 *
 * @returns the payload of the result; null for what is answered elsewhere
 */
export const answerBuiltIn = (payload: Element, version: string, now: Date): string | null => {
  if (payload.is('ping', NS_PING)) return '';
  if (payload.is('query', NS_VERSION)) return formatVersion(version);
  if (payload.is('time', NS_TIME)) return formatTime(now);
  return null;
};
