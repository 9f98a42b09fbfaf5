/** What an account that is online and idle costs the daemon: its share of the resident memory. */
import { setTimeout as delay } from 'node:timers/promises';
import { type DaemonBench, enableAccounts, openDaemon } from './daemon.ts';
import { absolute, atMost, type Figure } from './figure.ts';
import type { Lab } from './lab.ts';

const KILOBYTE = 1e3;
const SETTLE_MS = 3_000;

/** Resident memory after a collection, which the worker does where it is let: garbage is no cost of accounts. */
const measureRss = async ({ child }: DaemonBench): Promise<number> => {
  await delay(SETTLE_MS);
  await child.sample();
  await delay(SETTLE_MS);
  return (await child.sample()).rssBytes;
};

export const idle = async (lab: Lab): Promise<Figure[]> => {
  const count = lab.scale === 'quick' ? 200 : 1_000;
  const names = Array.from({ length: count }, (_, index) => `idle${index + 1}`);
  lab.say(`idle: ${count} accounts`);
  const bench = await openDaemon(lab, names, ['--expose-gc']);
  await enableAccounts(bench, names.slice(0, 1));
  const one = await measureRss(bench);
  lab.say('idle: one account is online');
  await enableAccounts(bench, names.slice(1));
  lab.say(`idle: ${count} accounts are online`);
  const all = await measureRss(bench);
  const kilobytes = (all - one) / (count - 1) / KILOBYTE;
  return [absolute(`memory an idle account, of ${count}`, kilobytes, 'kB', atMost('value', 100))];
};
