/** Subscriptions as stanzas (RFC 6121 §3). */
import { escapeAttribute } from '../../xmpp/wire/xml.ts';
import type { SubscriptionStanza } from './subscriptions.ts';

/** @param to a bare JID */
export const buildSubscription = (to: string, type: SubscriptionStanza): string =>
  `<presence to='${escapeAttribute(to)}' type='${type}'/>`;

/** The answer to a roster push (RFC 6121 §2.1.6). */
export const buildPushAnswer = (id: string): string =>
  `<iq type='result' id='${escapeAttribute(id)}'/>`;
