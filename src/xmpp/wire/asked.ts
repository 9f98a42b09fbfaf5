/** From whom an answer must come: others may know the id, or guess it. */
import { bareJid, readJid } from './jid.ts';

/**
 * Whether the answer comes from whom was asked. The account's own server answers for the account: in its
 * name, or in none (RFC 6120 §8.1.2.1).
 *
 * @param to whom the request went to; null for the account's own server
 * @param ownJid the account's bare JID in its normal form
 */
export const isFromAsked = (
  to: string | null,
  from: string | null | undefined,
  ownJid: string,
): boolean => {
  const asked = readJid(to);
  const sender = readJid(from);
  if (to !== null && asked !== ownJid) return asked !== null && sender === asked;
  return !from || (sender !== null && bareJid(sender) === ownJid);
};
