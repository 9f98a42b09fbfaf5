/** The chaos from the command line: as long and as often as one likes, each time with another seed. */
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';
import { formatCosts } from './verdict.ts';

const OPTIONS = {
  faults: { type: 'string', default: '500' },
  seed: { type: 'string' },
  only: { type: 'string', default: '' },
  log: { type: 'boolean', default: false },
} as const;

/** @returns the exit code: 0 when nothing was lost, doubled beyond the window or mixed */
export const runChaosCommand = async (args: string[]): Promise<number> => {
  const { values } = parseArgs({ args, options: OPTIONS });
  const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9));
  const say = (text: string) => void process.stderr.write(`${text}\n`);
  say(`seed ${seed}`);
  const startedAt = Date.now();
  const faults = Number(values.faults);
  const result = await runChaos({ faults, seed, say, only: values.only });
  const { totals, violations } = result;
  if (values.log) say(result.daemonLog);
  const { rows, rolledBack, undecided, sent, received } = totals;
  const out = (text: string) => void process.stdout.write(`${text}\n`);
  out(formatCosts(result.costs));
  out(`${rows} rows sent, ${rolledBack} rolled back, ${undecided} commits cut short;`);
  out(`${sent} messages sent to the accounts, ${received} received;`);
  out(`seed ${seed}, ${Math.round((Date.now() - startedAt) / 1000)} s`);
  for (const violation of violations.slice(0, 20)) out(`VIOLATION ${violation}`);
  out(violations.length === 0 ? 'all invariants hold' : `${violations.length} violations`);
  return violations.length === 0 ? 0 : 1;
};
