/** A long backlog: it must neither fill the memory nor slow the reader down. */
import { measureDrain } from './drain.ts';
import { rowgram } from './engines/rowgram.ts';
import { absolute, atLeast, atMost, compared, type Figure, median } from './figure.ts';
import { type Lab, openBench } from './lab.ts';

const SHORT_ROWS = 10_000;
const MEGABYTE = 1e6;

export const backlog = async (lab: Lab): Promise<Figure[]> => {
  const rows = lab.scale === 'quick' ? 100_000 : 1_000_000;
  const bench = await openBench(lab, rowgram);
  const short: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    const rate = await measureDrain(bench, SHORT_ROWS);
    lab.say(`backlog of ${SHORT_ROWS} rows: ${Math.round(rate)} rows/s`);
    // The first rounds warm the code up.
    if (round > 0) short.push(rate);
  }
  lab.say(`backlog of ${rows} rows`);
  const rate = await measureDrain(bench, rows);
  const { peakRssBytes } = await bench.child.sample();
  const name = `backlog of ${rows} rows`;
  const rounds = { ours: [rate], baseline: [median(short)] };
  return [
    compared(name, 'rows/s', `${SHORT_ROWS} rows`, rounds, atLeast('ratio', 0.7)),
    absolute(`${name}, peak memory`, peakRssBytes / MEGABYTE, 'MB', atMost('value', 250)),
  ];
};
