/** The two counters of stream management, modulo 2^32. Source: XEP-0198 §4. */

export const NS_SM = 'urn:xmpp:sm:3';

const MODULUS = 2 ** 32;

/** How far `to` is ahead of `from`. */
const distance = (from: number, to: number): number => (to - from + MODULUS) % MODULUS;

/** Counts stanzas sent, and how many of them the peer has handled. */
export const createOutboundCounter = (sent = 0) => {
  let sentCount = sent;
  let handledCount = sent;
  return {
    sent: (): number => sentCount,
    unacknowledged: (): number => distance(handledCount, sentCount),
    count(stanzas: number): void {
      sentCount = (sentCount + stanzas) % MODULUS;
    },
    /**
     * @param h what the peer says it has handled; more than was sent counts as all of it
     * @returns how many stanzas are newly acknowledged
     */
    acknowledge(h: number): number {
      const open = distance(handledCount, sentCount);
      const claimed = distance(handledCount, h);
      const isPlausible = Number.isInteger(h) && h >= 0 && h < MODULUS;
      // Going back is a claim of nearly 2^32; a count beyond ours is a peer that cannot count.
      const fresh = !isPlausible || claimed > MODULUS / 2 ? 0 : Math.min(claimed, open);
      handledCount = (handledCount + fresh) % MODULUS;
      return fresh;
    },
  };
};

/** The number after `h`. */
export const nextCount = (h: number): number => (h + 1) % MODULUS;
