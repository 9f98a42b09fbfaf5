/** Fetching and finishing rows that are there already, one process, a handler that does nothing. */
import { nowMs } from './clock.ts';
import { graphile } from './engines/graphile.ts';
import { pgBoss } from './engines/pgBoss.ts';
import { rowgram } from './engines/rowgram.ts';
import { atLeast, compared, type Figure } from './figure.ts';
import { awaitEmpty, type Bench, type Lab, openBench, tidy } from './lab.ts';

/** Rows a second, from the first start to the last finish in the table. */
export const measureDrain = async (bench: Bench, rows: number): Promise<number> => {
  const { engine, client, child } = bench;
  await engine.fill(client, rows);
  await tidy(bench);
  await child.consume('throughput');
  const firstAtMs = await child.awaitRows(rows);
  await awaitEmpty(bench);
  const ms = nowMs() - firstAtMs;
  await child.stop();
  return (rows * 1_000) / ms;
};

export const drain = async (lab: Lab): Promise<Figure[]> => {
  const isQuick = lab.scale === 'quick';
  const rows = isQuick ? 5_000 : 20_000;
  const rounds = isQuick ? 2 : 5;
  const benches: [Bench, number[]][] = [];
  for (const engine of [rowgram, graphile, pgBoss]) {
    benches.push([await openBench(lab, engine), []]);
  }
  // The first rounds warm the code up.
  for (let round = 0; round <= rounds; round += 1) {
    for (const [bench, rates] of benches) {
      const rate = await measureDrain(bench, rows);
      lab.say(`drain, ${bench.engine.name}: ${Math.round(rate)} rows/s`);
      if (round > 0) rates.push(rate);
    }
  }
  const [, ours = []] = benches[0] ?? [];
  const compare = (index: number, amount: number): Figure[] => {
    const [bench, baseline] = benches[index] ?? [];
    if (!bench || !baseline) return [];
    const name = `drain of ${rows} rows`;
    return [
      compared(name, 'rows/s', bench.engine.name, { ours, baseline }, atLeast('ratio', amount)),
    ];
  };
  return [...compare(1, 1.5), ...compare(2, 2)];
};
