/**
 * Messages that come twice: out of the archive, and from an offline store whose copies do not say their
 * archive id. Without it they are told by what the sender gave them.
 */
import type { Incoming } from '../stanzas.ts';

/** Beyond, the oldest are forgotten. */
const MAX_KEYS = 10_000;

type Told = Pick<Incoming, 'from' | 'id' | 'originId' | 'body'>;

/** @returns null for a message that its sender gave no id: two like it may well be two */
const keyOf = ({ from, id, originId, body }: Told): string | null =>
  id === null && originId === null ? null : JSON.stringify([from, originId ?? id, body]);

export type Twins = {
  add(message: Told): void;
  /** @returns whether it is one of those added; each counts once */
  take(message: Told): boolean;
  clear(): void;
};

export const createTwins = (): Twins => {
  const counts = new Map<string, number>();
  return {
    add(message) {
      const key = keyOf(message);
      if (key === null) return;
      counts.set(key, (counts.get(key) ?? 0) + 1);
      const [oldest] = counts.keys();
      if (counts.size > MAX_KEYS && oldest !== undefined) counts.delete(oldest);
    },
    take(message) {
      if (counts.size === 0) return false;
      const key = keyOf(message);
      const count = key === null ? 0 : (counts.get(key) ?? 0);
      if (key === null || count === 0) return false;
      if (count === 1) counts.delete(key);
      else counts.set(key, count - 1);
      return true;
    },
    clear: () => counts.clear(),
  };
};
