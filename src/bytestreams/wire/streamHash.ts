/** The name by which both ends of a stream ask the proxy for it (XEP-0065 §5.3.2). */
import { createHash } from 'node:crypto';

/** SHA-1 in lower-case hex of the stream's id and both addresses, as they are given. */
export const hashStream = (sid: string, requester: string, target: string): string =>
  createHash('sha1').update(sid).update(requester).update(target).digest('hex');

/** A JID as it came and as it is normalised. */
export type JidForms = { received: string; normalised: string };

/**
 * Every hash that the ends may have made, the normalised one first: it is to be made of prepared addresses,
 * but some clients make it of what was typed, at either end.
 */
export const streamHashes = (sid: string, requester: JidForms, target: JidForms): string[] => {
  const hashes = [requester.normalised, requester.received].flatMap((from) =>
    [target.normalised, target.received].map((to) => hashStream(sid, from, to)),
  );
  return [...new Set(hashes)];
};
