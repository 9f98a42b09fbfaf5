/** The engines by their names. */
import type { Engine } from './engine.ts';
import { graphile } from './graphile.ts';
import { pgBoss, pgBossPolling } from './pgBoss.ts';
import { rowgram } from './rowgram.ts';

const ENGINES = [rowgram, graphile, pgBoss, pgBossPolling];

export const findEngine = (name: string): Engine => {
  const engine = ENGINES.find((known) => known.name === name);
  if (engine) return engine;
  throw new Error(`there is no engine ${name}`);
};
