/** What becomes of an account or component whose session ended: when it is tried again, what its row says. */
import { ConfigError, errorText, ProtocolError, RejectError } from '../errors.ts';

export type Rest = {
  state: 'backoff' | 'refused' | 'conflict';
  info: string;
  /** Milliseconds until the next try; null to rest until the row changes. */
  afterMs: number | null;
};

/** Whether it is not to be expected online by itself. */
export const isResting = (rest: Rest | null): boolean =>
  rest !== null && (rest.state === 'refused' || rest.afterMs === null);

/** What has gone before. */
export type Track = {
  /** Tries since it was last online for a while. */
  failures: number;
  /** When another client took the resource, in milliseconds, latest last. */
  conflicts: number[];
  /** How long the other one is left alone at least. */
  conflictMs: number;
};

const FIRST_MS = 500;
const LONGEST_MS = 60_000;
const RESOURCE_CONSTRAINT_MS = 30_000;
const CONFIG_MS = 300_000;
const CONFLICTS = 3;
const CONFLICTS_WITHIN_MS = 600_000;

/** Half fixed and half random, so that those of one server do not come back all at once. */
const backOff = (failures: number, random: number): number => {
  const ms = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures, 10));
  return Math.round(ms * (0.5 + random / 2));
};

/**
 * @param random between 0 and 1
 * @param now milliseconds
 */
export const decideRest = (error: unknown, track: Track, random: number, now: number): Rest => {
  const info = errorText(error);
  if (error instanceof RejectError) return { state: 'refused', info, afterMs: null };
  // A certificate can be renewed without a change of the row.
  if (error instanceof ConfigError) return { state: 'refused', info, afterMs: CONFIG_MS };
  const condition = error instanceof ProtocolError ? error.source : '';
  const usual = backOff(track.failures, random);
  if (condition === 'conflict') {
    const recent = track.conflicts.filter((at) => now - at < CONFLICTS_WITHIN_MS).length;
    const isParked = recent >= CONFLICTS;
    const text = isParked
      ? `${info}; another client keeps taking the resource: change one of them, then this row`
      : info;
    return { state: 'conflict', info: text, afterMs: isParked ? null : track.conflictMs + usual };
  }
  if (condition === 'resource-constraint') {
    return { state: 'backoff', info, afterMs: RESOURCE_CONSTRAINT_MS + usual };
  }
  return { state: 'backoff', info, afterMs: usual };
};
