/**
 * The rows of one link that are in memory, in the order in which they are to be sent. Pure bookkeeping:
 * the queue fills it, the link takes from it.
 */

/** What the queue needs to know of a row, whatever its content. Times are of this process's clock. */
export type QueueRow = {
  id: number;
  /** The link the row names; null for the default one. */
  linkId: number | null;
  priority: number;
  /** Milliseconds; null for never. */
  expiresAt: number | null;
  /** Milliseconds; null for at once. */
  nextTryAt: number | null;
  attempts: number;
  /** Whether the table says that it may have gone out. */
  isSubmitting: boolean;
};

type Position = { priority: number; id: number };

const START: Position = { priority: Number.NEGATIVE_INFINITY, id: 0 };
const END: Position = { priority: Number.POSITIVE_INFINITY, id: 0 };

const comesAfter = (a: Position, b: Position): boolean =>
  a.priority > b.priority || (a.priority === b.priority && a.id > b.id);

/** Rows kept at most; beyond, the rest stays in the table until there is room. */
const CAPACITY = 1_000;

export type LinkBuffer<Row extends QueueRow> = ReturnType<typeof createLinkBuffer<Row>>;

/** @param orderKey rows with the same key never overtake each other, such as those to one recipient */
export const createLinkBuffer = <Row extends QueueRow>(orderKey: (row: Row) => string) => {
  let rows: Row[] = [];
  /** All rows up to here are in memory, taken, or settled. */
  let loadedTo = START;
  /** Whether a row waits for a next try, so that takes must look at recipients. */
  let someWait = false;
  /** Ids that are somewhere between the table and its settling: in `rows` or taken. */
  const held = new Set<number>();

  const insert = (row: Row) => {
    let at = rows.length;
    while (at > 0 && comesAfter(rows[at - 1] ?? START, row)) at -= 1;
    rows.splice(at, 0, row);
    if (row.nextTryAt !== null) someWait = true;
  };

  const keep = (row: Row): boolean => {
    if (held.has(row.id)) return false;
    held.add(row.id);
    insert(row);
    return true;
  };

  const shrink = () => {
    if (rows.length <= CAPACITY) return;
    for (const row of rows.splice(CAPACITY / 2)) held.delete(row.id);
    loadedTo = rows.at(-1) ?? START;
  };

  return {
    /** Where the next page begins, or null when the table holds no more. */
    nextPage: (): Position | null => (loadedTo === END ? null : loadedTo),
    isLow: (): boolean => rows.length < CAPACITY / 4,
    hasRows: (): boolean => rows.length > 0,
    ids: (): number[] => rows.map(({ id }) => id),
    takenIds(): number[] {
      const waiting = new Set(rows.map(({ id }) => id));
      return [...held].filter((id) => !waiting.has(id));
    },
    /** Leaves a row alone that is neither here nor settled yet. */
    hold: (id: number): void => void held.add(id),

    /** Adds the rows that follow the last page, in order; a short page was the last one. */
    addPage(page: Row[], isLast: boolean): void {
      for (const row of page) keep(row);
      loadedTo = isLast ? END : (page.at(-1) ?? END);
    },

    /** Adds a new row, unless it belongs behind what is loaded: then a later page brings it. */
    offer(row: Row): boolean {
      if (comesAfter(row, loadedTo)) return false;
      const isNew = keep(row);
      shrink();
      return isNew;
    },

    /** Takes rows that may go now, first ones first. They stay held until `release` or `giveBack`. */
    take(count: number, now: number): Row[] {
      if (!someWait) return rows.splice(0, count);
      const blocked = new Set<string>();
      const taken: Row[] = [];
      someWait = false;
      rows = rows.filter((row) => {
        const key = orderKey(row);
        const mustWait = blocked.has(key) || (row.nextTryAt !== null && row.nextTryAt > now);
        if (mustWait) {
          blocked.add(key);
          someWait = true;
        } else if (taken.length < count) {
          taken.push(row);
          return false;
        } else if (row.nextTryAt !== null) someWait = true;
        return true;
      });
      return taken;
    },

    /** The earliest next try of a waiting row that is not before `since`, in milliseconds. */
    nextTryAt(since = 0): number | null {
      if (!someWait) return null;
      const times = rows.flatMap(({ nextTryAt: at }) => (at !== null && at >= since ? at : []));
      return times.length === 0 ? null : Math.min(...times);
    },

    /** Waiting rows need not wait for their next try. @returns whether there are any */
    hasten(isMatch: (row: Row) => boolean): boolean {
      const waiting = rows.filter((row) => row.nextTryAt !== null && isMatch(row));
      for (const row of waiting) row.nextTryAt = null;
      return waiting.length > 0;
    },

    /** Taken rows come back to their place. */
    giveBack(taken: Row[]): void {
      for (const row of taken) insert(row);
    },

    /** The row is settled in the table. */
    release(id: number): void {
      held.delete(id);
    },

    /** Drops rows that were not taken, such as cancelled ones. @returns whether there were any */
    drop(isGone: (id: number) => boolean): boolean {
      const before = rows.length;
      rows = rows.filter((row) => {
        const gone = isGone(row.id);
        if (gone) held.delete(row.id);
        return !gone;
      });
      return rows.length < before;
    },

    /** Forgets all that was not taken; it is read again from the table. */
    reset(): void {
      for (const row of rows) held.delete(row.id);
      rows = [];
      someWait = false;
      loadedTo = START;
    },
  };
};
