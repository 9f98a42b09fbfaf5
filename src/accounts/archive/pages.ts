/** Ways through the own archive: forward from a cursor, and back in search of what was sent. */
import { RejectError } from '../../errors.ts';
import type { ArchiveEnd, ArchiveResult } from '../../xmpp/wire/archive.ts';
import type { Line, Taken } from '../part.ts';
import type { Queries } from './queries.ts';
import type { Cursor } from './store.ts';

const PAGE_ROWS = 100;
/** Messages to look through for sent ones. */
const SEARCH_MAX = 10_000;
/** What the clocks of the server and of the database may differ by. */
export const SKEW_MS = 600_000;

type Pages = { queries: Pick<Queries, 'ask'>; log: Line['log'] };

/** All that follows the cursor; when the archive has forgotten it, all from its time on. */
export const readOn = async (
  { queries, log }: Pages,
  { archiveId, readAtMs }: Cursor,
  onResult: (result: ArchiveResult) => Taken,
): Promise<void> => {
  let after = archiveId;
  let start: Date | null = null;
  for (;;) {
    const query = { start, page: { max: PAGE_ROWS, after } };
    const end: ArchiveEnd | null = await queries.ask(query, onResult).catch((error: unknown) => {
      const isForgotten = error instanceof RejectError && error.condition === 'item-not-found';
      if (isForgotten && start === null && after !== null) return null;
      throw error;
    });
    if (end === null) {
      start = new Date(readAtMs - SKEW_MS);
      after = null;
      log.info({ start }, 'the archive does not know its last message any more, read by time');
      continue;
    }
    const last: string | null = end.page?.last ?? null;
    if (end.isComplete || last === null || last === after) return;
    after = last;
  }
};

/** From the end back, until `isEnough` or what is older than `sinceMs`, which is the server's time. */
export const readBack = async (
  { queries, log }: Pages,
  sinceMs: number,
  isEnough: () => boolean,
  onResult: (result: ArchiveResult) => void,
): Promise<void> => {
  let before = '';
  let count = 0;
  let oldestMs = Number.POSITIVE_INFINITY;
  const look = (result: ArchiveResult): Taken => {
    count += 1;
    if (result.archivedAt) oldestMs = Math.min(oldestMs, result.archivedAt.getTime());
    onResult(result);
    return {};
  };
  for (;;) {
    const end = await queries.ask({ page: { max: PAGE_ROWS, before } }, look);
    const first = end.page?.first ?? null;
    if (end.isComplete || isEnough() || oldestMs < sinceMs) return;
    if (first === null || first === before) return;
    if (count >= SEARCH_MAX) {
      log.warn({ messages: count }, 'the archive was not searched to the end for sent rows');
      return;
    }
    before = first;
  }
};
