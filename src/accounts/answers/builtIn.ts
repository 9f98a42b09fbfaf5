/** Requests that every account answers by itself. */
import type { Element } from '@xmpp/client';
import { commandsNs } from '../../xmpp/wire/command.ts';
import { discoInfoNs, discoItemsNs } from '../../xmpp/wire/disco.ts';
import {
  formatTime,
  formatVersion,
  pingNs,
  readEntityQuery,
  timeNs,
  versionNs,
} from '../../xmpp/wire/entity.ts';
import { dataNs } from '../../xmpp/wire/form.ts';

const NS_CAPS = 'http://jabber.org/protocol/caps';
const NS_RECEIPTS = 'urn:xmpp:receipts';

/** What is answered here, and what the link does of itself with messages. */
export const FEATURES: readonly string[] = [
  NS_CAPS,
  commandsNs,
  discoInfoNs,
  discoItemsNs,
  versionNs,
  dataNs,
  pingNs,
  NS_RECEIPTS,
  timeNs,
];

/**
 * The answer to a request of the type get: XEP-0199, XEP-0092, XEP-0202.
 *
 * @returns the payload of the result; null for what is answered elsewhere
 */
export const answerBuiltIn = (payload: Element, version: string, now: Date): string | null => {
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
