/** Rows inserted one by one by eight producers while the consumer is at work, end to end. */
import { setTimeout as delay } from 'node:timers/promises';
import { nowMs } from './clock.ts';
import type { Engine, Producers } from './engines/engine.ts';
import { graphile } from './engines/graphile.ts';
import { pgBoss, pgBossPolling } from './engines/pgBoss.ts';
import { rowgram } from './engines/rowgram.ts';
import { atLeast, compared, type Figure } from './figure.ts';
import { awaitEmpty, type Bench, type Lab, openBench, tidy } from './lab.ts';

const PRODUCERS = 8;
const SETTLE_MS = 300;

/** pg-boss that polls starts rows half a second late on average, and spares producers the notifying. */
const BASELINES: [Engine, number][] = [
  [graphile, 3],
  [pgBoss, 3],
  [pgBossPolling, 1],
];

type Live = Bench & { producers: Producers; rates: number[] };

const openLive = async (lab: Lab, engine: Engine): Promise<Live> => {
  const bench = await openBench(lab, engine);
  const producers = lab.use(await engine.openProducers(bench.address, PRODUCERS));
  return { ...bench, producers, rates: [] };
};

/** Finished rows a second, from the first insert to the last finish. */
const measureLive = async (live: Live, ms: number): Promise<number> => {
  const { child, producers } = live;
  await tidy(live);
  await child.consume('throughput');
  await delay(SETTLE_MS);
  const startedAtMs = nowMs();
  let key = 0;
  const produce = async (insert: (key: number) => Promise<void>) => {
    while (nowMs() - startedAtMs < ms) {
      key += 1;
      await insert(key);
    }
  };
  await Promise.all(producers.inserts.map(produce));
  await awaitEmpty(live);
  const tookMs = nowMs() - startedAtMs;
  await child.stop();
  return (key * 1_000) / tookMs;
};

export const live = async (lab: Lab): Promise<Figure[]> => {
  const isQuick = lab.scale === 'quick';
  const ours = await openLive(lab, rowgram);
  const others: { bench: Live; amount: number }[] = [];
  for (const [engine, amount] of BASELINES) {
    others.push({ bench: await openLive(lab, engine), amount });
  }
  const rounds = isQuick ? 1 : 4;
  for (let round = 0; round <= rounds; round += 1) {
    for (const bench of [ours, ...others.map((other) => other.bench)]) {
      const rate = await measureLive(bench, isQuick ? 1_000 : 3_000);
      lab.say(`live, ${bench.engine.name}: ${Math.round(rate)} rows/s`);
      if (round > 0) bench.rates.push(rate);
    }
  }
  return others.map(({ bench, amount }) =>
    compared(
      `live, ${PRODUCERS} producers`,
      'rows/s',
      bench.engine.name,
      { ours: ours.rates, baseline: bench.rates },
      atLeast('ratio', amount),
    ),
  );
};
