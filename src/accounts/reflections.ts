/**
 * Messages to rooms that their servers have and their rooms have not shown yet: only then is it certain
 * that the room took them (XEP-0045 §7.4).
 */
import type { TxRow } from './link.ts';
import { createRecent } from './recent.ts';

/** For a room to show a message to all, which the sender is among. */
const REFLECTION_MS = 60_000;
/** A room that shows a message not once in so many tries will not do so. */
const REFLECTION_TRIES = 3;

type Waiting = { row: TxRow; to: string; since: number };
/** A message that was not shown in time; `isLast` when it is not to be sent again. */
export type Overdue = { row: TxRow; stanzaId: string; isLast: boolean };

export type Reflections = {
  wait(stanzaId: string, row: TxRow, to: string): void;
  count(): number;
  /** @returns null for a message that is not waited for */
  take(stanzaId: string): TxRow | null;
  takeTo(isMatch: (to: string) => boolean): TxRow[];
  takeOverdue(now: number): Overdue[];
  recipientOf(stanzaId: string): string | undefined;
  /** A stream has begun: rooms have all their time again. */
  renew(now: number): void;
  /** It was shown and nobody waited for it. */
  noteShown(stanzaId: string): void;
  /** @returns whether it was; asked once */
  wasShown(stanzaId: string): boolean;
};

/** @param most how many that were shown to nobody are remembered */
export const createReflections = (most: number): Reflections => {
  /** By stanza id, oldest first. */
  const waiting = new Map<string, Waiting>();
  /** Settled by a reflection and not seen here: read from the table before it was, they are not sent. */
  const shown = createRecent<string>(most);
  /** How often a row was sent and not shown, by its id. */
  const tries = new Map<number, number>();

  const takeTo = (isMatch: (to: string) => boolean): TxRow[] => {
    const found = [...waiting].filter(([, { to }]) => isMatch(to));
    for (const [stanzaId] of found) waiting.delete(stanzaId);
    return found.map(([, { row }]) => row);
  };

  return {
    wait(stanzaId, row, to) {
      waiting.set(stanzaId, { row, to, since: Date.now() });
    },
    count: () => waiting.size,
    take(stanzaId) {
      const found = waiting.get(stanzaId);
      if (!found) return null;
      waiting.delete(stanzaId);
      tries.delete(found.row.id);
      return found.row;
    },
    takeTo,
    takeOverdue(now) {
      const overdue: Overdue[] = [];
      for (const [stanzaId, { row, since }] of waiting) {
        if (since > now - REFLECTION_MS) break;
        waiting.delete(stanzaId);
        const count = (tries.get(row.id) ?? 0) + 1;
        const isLast = count >= REFLECTION_TRIES;
        if (isLast) tries.delete(row.id);
        else tries.set(row.id, count);
        overdue.push({ row, stanzaId, isLast });
      }
      return overdue;
    },
    recipientOf: (stanzaId) => waiting.get(stanzaId)?.to,
    renew(now) {
      for (const each of waiting.values()) each.since = now;
    },
    noteShown: shown.add,
    wasShown: shown.take,
  };
};
