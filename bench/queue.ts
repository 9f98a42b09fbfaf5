/** The figures of the queue, each with what measures it. */
import { backlog } from './backlog.ts';
import { cpu } from './cpu.ts';
import { drain } from './drain.ts';
import type { Figure } from './figure.ts';
import { idle } from './idle.ts';
import { inserts } from './inserts.ts';
import type { Lab } from './lab.ts';
import { live } from './live.ts';
import { wake } from './wake.ts';

export const QUEUE_GROUPS: Record<string, (lab: Lab) => Promise<Figure[]>> = {
  inserts,
  drain,
  live,
  wake,
  cpu,
  backlog,
  idle,
};
