/** How much memory the reads of a stream may take: little at first, more for one that fills it. */

const FIRST_BYTES = 16_384;
const GROWTH = 4;
/** More gains nothing. */
const MOST_BYTES = 262_144;
/** A rate is kept with small reads, but not with ones that cost more than they carry. */
const LEAST_BYTES = 1_024;
/** For the legs of all streams of a listener. */
const BUDGET_BYTES = 128 * 1_048_576;

/** Of all legs that read. */
export type BufferBudget = { legs: number };

export type ReadBuffer = {
  /** @param filledBytes of the last read; @param mostBytes that the rate allows */
  next(filledBytes: number, mostBytes: number): Buffer;
};

export const createReadBuffer = (budget: BufferBudget): ReadBuffer => {
  let buffer: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  return {
    next(filledBytes, mostBytes) {
      const share = Math.max(FIRST_BYTES, Math.floor(BUDGET_BYTES / Math.max(1, budget.legs)));
      const limit = Math.min(MOST_BYTES, share);
      const isFilled = filledBytes >= buffer.length;
      const grown = Math.min(limit, buffer.length * GROWTH);
      if (isFilled && grown > buffer.length) buffer = Buffer.allocUnsafeSlow(grown);
      // Others came: each takes less.
      else if (buffer.length > limit * 2) buffer = Buffer.allocUnsafeSlow(limit);
      const bytes = Math.max(LEAST_BYTES, mostBytes);
      return bytes < buffer.length ? buffer.subarray(0, bytes) : buffer;
    },
  };
};
