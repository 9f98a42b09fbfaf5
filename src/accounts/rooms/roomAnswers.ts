/** What a room answers when it is asked what it is, and whether the account is still in it. */
import type { Element } from '@xmpp/client';
import { RejectError } from '../../errors.ts';
import { archiveNs } from '../../xmpp/wire/archive.ts';
import { discoInfoNs, readDiscoInfo } from '../../xmpp/wire/disco.ts';

/**
 * Whether the room keeps an archive.
 *
 * @throws RejectError `no-room` when the address is something else's
 */
export const readHasArchive = (answer: Element): boolean => {
  const info = readDiscoInfo(answer.getChild('query', discoInfoNs));
  if (info && !info.identities.some(({ category }) => category === 'conference')) {
    throw new RejectError('this is the address of no room', 'no-room');
  }
  return info?.features.includes(archiveNs) ?? false;
};

const NO_ROOM = [
  'jid-malformed',
  'no-room',
  'remote-server-not-found',
  'remote-server-timeout',
  'service-unavailable',
  // A person's, who does not know us.
  'subscription-required',
];

/** Whether there may be a room all the same, such as one that entering it will make. */
export const mayBeRoom = (error: unknown): boolean =>
  error instanceof RejectError && !NO_ROOM.includes(error.condition);

/** Errors of an occupant's own ping that do not say that the account is out (XEP-0410 §3.2). */
const STILL_IN = ['service-unavailable', 'feature-not-implemented', 'item-not-found'];

export const isStillIn = (error: unknown): boolean =>
  error instanceof RejectError && STILL_IN.includes(error.condition);
