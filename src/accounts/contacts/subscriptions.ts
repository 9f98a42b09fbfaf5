/** Who is asked to show presence, who may see it, and what those get who ask. Source: RFC 6121 §3. */
import { type Contact, isSubscribed, type ServerItem } from './mergeRoster.ts';

export type SubscriptionStanza = 'subscribe' | 'unsubscribe' | 'subscribed' | 'unsubscribed';

type Wish = Pick<
  Contact,
  'subscribe' | 'allow' | 'subscription' | 'ask' | 'isRefused' | 'isPending'
>;

/**
 * What makes the server's subscriptions those that the contact's row wants.
 *
 * @param tried what this session has sent already: a server may ignore it, or the contact not answer
 */
export const decideSubscriptions = (
  contact: Wish,
  { approved }: Pick<ServerItem, 'approved'>,
  tried: ReadonlySet<SubscriptionStanza>,
): SubscriptionStanza[] => {
  const { subscribe, allow, subscription, isRefused } = contact;
  const isSeen = subscription === 'from' || subscription === 'both';
  const needed: SubscriptionStanza[] = [];
  if (subscribe && !isSubscribed(contact) && !isRefused) needed.push('subscribe');
  if (!subscribe && isSubscribed(contact)) needed.push('unsubscribe');
  // Also in advance; a server that keeps no approvals drops it.
  if (allow === true && !isSeen && !approved) needed.push('subscribed');
  // A request that waits at the server is refused by it, too: whether there is one is not known.
  if (allow === false && (isSeen || approved || contact.isPending)) needed.push('unsubscribed');
  return needed.filter((stanza) => !tried.has(stanza));
};

export type Verdict = 'accept' | 'reject';

/** @returns null when a person is to decide */
export const decideRequest = (
  allow: boolean | null,
  policy: 'ask' | 'accept' | 'reject',
): Verdict | null => {
  if (allow !== null) return allow ? 'accept' : 'reject';
  return policy === 'ask' ? null : policy;
};

export const ANSWERS = { accept: 'subscribed', reject: 'unsubscribed' } as const;
