/** What a request to activate a stream is answered with (XEP-0065 §6.3.5). */
import { RejectError } from '../errors.ts';
import type { LimitsRow } from './access.ts';
import type { Verdict } from './relay/messages.ts';

const RANK: Verdict['type'][] = ['unknown', 'one leg', 'denied', 'active', 'activated'];

/** Of what the listeners of a proxy say, the one that tells most: each stream is at one of them. */
export const chooseVerdict = (verdicts: readonly Verdict[]): Verdict =>
  verdicts.reduce(
    (best, next) => (RANK.indexOf(next.type) > RANK.indexOf(best.type) ? next : best),
    {
      type: 'unknown',
    },
  );

/** @throws RejectError for what is not granted */
export const requireActivated = (verdict: Verdict): Verdict & { type: 'activated' } => {
  switch (verdict.type) {
    case 'activated':
      return verdict;
    case 'unknown':
      throw new RejectError('nobody waits for this stream', 'item-not-found');
    case 'one leg':
      throw new RejectError('only one end has connected', 'not-allowed');
    case 'active':
      throw new RejectError('the stream is active already', 'conflict');
    case 'denied':
      throw new RejectError('one end may not connect from its address', 'forbidden');
    default:
      return verdict satisfies never;
  }
};

/**
 * @param now what the requester has at this proxy: streams, and bytes within the period of the quota
 * @throws RejectError `resource-constraint` when no more is due; it may be later
 */
export const requireRoom = (
  limits: LimitsRow | null,
  now: { streams: number; usedBytes: number },
): void => {
  const { maxStreams = null, quotaBytes = null } = limits ?? {};
  if (maxStreams !== null && now.streams >= maxStreams) {
    throw new RejectError(`${maxStreams} streams at once are the limit`, 'resource-constraint');
  }
  if (quotaBytes !== null && now.usedBytes >= quotaBytes) {
    throw new RejectError('the quota is used up', 'resource-constraint');
  }
};
