/** From the insert of a lone row to the start of its handling, the consumer being idle. */
import { setTimeout as delay } from 'node:timers/promises';
import { nowMs } from './clock.ts';
import type { Engine, Producers } from './engines/engine.ts';
import { graphile } from './engines/graphile.ts';
import { pgBoss } from './engines/pgBoss.ts';
import { rowgram } from './engines/rowgram.ts';
import { atMost, type Figure, quantile } from './figure.ts';
import { type Bench, type Lab, openBench, tidy } from './lab.ts';

const ENGINES = [rowgram, graphile, pgBoss];
const WARM_UP = 20;
/** Between two rows, so that every engine is asleep again when its turn comes. */
const PAUSE_MS = 40;

type Idle = Bench & { producers: Producers; waitsMs: number[] };

const openIdle = async (lab: Lab, engine: Engine): Promise<Idle> => {
  const bench = await openBench(lab, engine);
  await tidy(bench);
  const producers = lab.use(await engine.openProducers(bench.address, 1));
  await bench.child.consume('latency');
  return { ...bench, producers, waitsMs: [] };
};

const measureWake = async ({ child, producers }: Idle, key: number): Promise<number> => {
  const started = new Promise<number>((resolve) => {
    child.onStarted((row) => row.key === key && resolve(row.atMs));
  });
  const insertedAtMs = nowMs();
  await producers.inserts[0]?.(key);
  return (await started) - insertedAtMs;
};

const compareAt = (share: number, ours: Idle, baseline: Idle): Figure => {
  const value = quantile(ours.waitsMs, share);
  const baselineValue = quantile(baseline.waitsMs, share);
  return {
    figure: `insert to start, idle, p${share * 100}`,
    value,
    unit: 'ms',
    baseline: baseline.engine.name,
    baselineValue,
    ratio: value / baselineValue,
    wanted: atMost('ratio', 1),
  };
};

export const wake = async (lab: Lab): Promise<Figure[]> => {
  const rows = lab.scale === 'quick' ? 50 : 400;
  const idles: Idle[] = [];
  for (const engine of ENGINES) idles.push(await openIdle(lab, engine));
  lab.say(`wake: ${rows} rows each`);
  for (let key = 1; key <= WARM_UP + rows; key += 1) {
    for (const idle of idles) {
      const ms = await measureWake(idle, key);
      if (key > WARM_UP) idle.waitsMs.push(ms);
      await delay(PAUSE_MS);
    }
  }
  const [ours, ...others] = idles;
  if (!ours) return [];
  return others.flatMap((other) => [0.5, 0.99].map((share) => compareAt(share, ours, other)));
};
