/**
 * Moves the archive's cursor on for what the account sends: it does not come back, so nothing else moves
 * the cursor of an account that only sends, and the next login would read it all.
 */
import { errorText } from '../../errors.ts';
import type { Line } from '../part.ts';
import type { Queries } from './queries.ts';

/** Rows sent after which the cursor is moved. */
const SENT_MAX = 100;
/** What the archive had then has come by now, too, if it was to come. */
const SETTLED_MS = 30_000;

export type SentCursor = {
  noteSent(): void;
  /** What came has moved the cursor. */
  noteMoved(): void;
  stop(): void;
};

/** @param isLevel whether the archive has been read to its end */
export const createSentCursor = (
  { log, store }: Pick<Line, 'log' | 'store'>,
  queries: Pick<Queries, 'askLast'>,
  isLevel: () => boolean,
): SentCursor => {
  let sentCount = 0;
  let movedCount = 0;
  let timer: NodeJS.Timeout | null = null;
  /** The move that is under way. */
  let moving: symbol | null = null;

  const wait = () =>
    new Promise<void>((done) => {
      timer = setTimeout(done, SETTLED_MS);
    });

  const move = async (own: symbol) => {
    await wait();
    const moved = movedCount;
    const last = await queries.askLast();
    if (last === null || moving !== own) return;
    await wait();
    if (moved === movedCount && isLevel()) store({ archived: { id: last, at: null } });
  };

  return {
    noteSent() {
      sentCount += 1;
      if (sentCount < SENT_MAX || moving || !isLevel()) return;
      sentCount = 0;
      const own = Symbol('move');
      moving = own;
      move(own)
        .catch((error: unknown) => log.debug({ reason: errorText(error) }, 'cursor not moved'))
        .finally(() => {
          if (moving === own) moving = null;
        });
    },
    noteMoved() {
      movedCount += 1;
    },
    stop() {
      // What waits is let go, never to be continued.
      if (timer) clearTimeout(timer);
      moving = null;
    },
  };
};
