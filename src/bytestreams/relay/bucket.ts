/** Holds a stream to its rate. */

/** What may pass at once after a pause, in time of the rate: little, so that ten seconds hold within 10 %. */
const BURST_MS = 250;

export type Bucket = {
  /** @returns milliseconds to wait before the next read; what has been read may exceed what was there */
  take(bytes: number, nowMs: number): number;
  /** Begins anew: what was owed at another rate is forgotten. */
  setRate(bytesPerSecond: number | null, nowMs: number): void;
  /** Reads should not exceed it, so that they come evenly; infinite without a rate. */
  readBytes(): number;
};

const READS_PER_S = 20;

/** A token bucket that may go below zero, and then has to be filled first. */
export const createBucket = (bytesPerSecond: number | null, nowMs: number): Bucket => {
  let rate = bytesPerSecond;
  let filledAtMs = nowMs;
  let bytesLeft = ((rate ?? 0) * BURST_MS) / 1_000;
  return {
    take(bytes, now) {
      if (rate === null) return 0;
      const filled = bytesLeft + ((now - filledAtMs) * rate) / 1_000;
      bytesLeft = Math.min(filled, (rate * BURST_MS) / 1_000) - bytes;
      filledAtMs = now;
      return bytesLeft >= 0 ? 0 : (-bytesLeft * 1_000) / rate;
    },
    setRate(bytesPerSecond, now) {
      rate = bytesPerSecond;
      filledAtMs = now;
      bytesLeft = 0;
    },
    readBytes: () => (rate === null ? Number.POSITIVE_INFINITY : Math.ceil(rate / READS_PER_S)),
  };
};
