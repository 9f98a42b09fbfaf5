/** The engines by their names. Each is loaded alone: a process that is measured carries no other's weight. */
import type { Engine } from './engine.ts';

const LOAD: Record<string, () => Promise<Engine>> = {
  rowgram: async () => (await import('./rowgram.ts')).rowgram,
  'graphile-worker': async () => (await import('./graphile.ts')).graphile,
  'pg-boss': async () => (await import('./pgBoss.ts')).pgBoss,
  'pg-boss, polling': async () => (await import('./pgBoss.ts')).pgBossPolling,
};

export const loadEngine = (name: string): Promise<Engine> => {
  const load = LOAD[name];
  if (load) return load();
  throw new Error(`there is no engine ${name}`);
};
