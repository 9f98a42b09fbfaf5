/** The figures of the bytestreams proxy, each with what measures it. */
import { cost } from './bytestreams/cost.ts';
import { crowd, pending } from './bytestreams/crowd.ts';
import type { Figure } from './figure.ts';
import type { Lab } from './lab.ts';

export const BYTESTREAMS_GROUPS: Record<string, (lab: Lab) => Promise<Figure[]>> = {
  cost,
  crowd,
  pending,
};
