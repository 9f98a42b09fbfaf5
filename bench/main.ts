/** `rowgram bench`: measures, and prints figures as a table or as lines of JSON. */
import { parseArgs } from 'node:util';
import type { Config } from '../src/config.ts';
import { ConfigError } from '../src/errors.ts';
import { formatTable } from '../src/sql.ts';
import { BYTESTREAMS_GROUPS } from './bytestreams.ts';
import { describeFigure, type Figure, formatFigure } from './figure.ts';
import { type Lab, openLab } from './lab.ts';
import { QUEUE_GROUPS } from './queue.ts';
import { lookup } from './users.ts';

type Groups = Record<string, (lab: Lab) => Promise<Figure[]>>;

const BENCHES: Record<string, Groups> = {
  queue: QUEUE_GROUPS,
  users: { lookup },
  bytestreams: BYTESTREAMS_GROUPS,
};

const OPTIONS = {
  json: { type: 'boolean', default: false },
  quick: { type: 'boolean', default: false },
  only: { type: 'string' },
} as const;

const say = (text: string) => process.stderr.write(`${text}\n`);

/** @throws ConfigError naming what there is */
const findGroups = (bench: string, only: string | undefined) => {
  const found = BENCHES[bench];
  if (!found) {
    throw new ConfigError(
      `there is no bench '${bench}'; there is ${Object.keys(BENCHES).join(', ')}`,
    );
  }
  const groups = Object.entries(found);
  const wanted = groups.filter(([name]) => only === undefined || name === only);
  if (wanted.length > 0) return wanted;
  const names = groups.map(([name]) => name).join(', ');
  throw new ConfigError(`there is no figure '${only}'; there is ${names}`);
};

/** Rejects at Ctrl-C, so that servers and directories are cleared away. */
const stopped = (): Promise<never> =>
  new Promise((_resolve, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM']) {
      process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
    }
  });

/** @returns the exit code */
export const runBench = async ({ databaseUrl }: Config, args: string[]): Promise<number> => {
  const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true });
  const [bench = ''] = positionals;
  const groups = findGroups(bench, values.only);
  const stop = stopped();
  // Before the first race nobody listens; that race then ends at once.
  stop.catch(() => {});
  const figures = [];
  for (const [name, measure] of groups) {
    say(`${bench}: ${name}`);
    const lab = await openLab(databaseUrl, values.quick ? 'quick' : 'full', say);
    try {
      const measured = await Promise.race([measure(lab), stop]);
      figures.push(...measured);
      const lines = measured.map((figure) => `${formatFigure(bench, figure)}\n`);
      if (values.json) process.stdout.write(lines.join(''));
    } finally {
      await lab.close();
    }
  }
  if (!values.json) process.stdout.write(formatTable(figures.map(describeFigure)));
  return 0;
};
