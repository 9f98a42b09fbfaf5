/** Processor time of a GiB through one stream, beside other proxies and a plain relay. */
import { atMost, compared, type Figure, type Rounds } from '../figure.ts';
import type { Lab } from '../lab.ts';
import {
  type Contender,
  openEjabberdProxy,
  openPipe,
  openProsodyProxy,
  openRowgram,
} from './contenders.ts';
import { transfer } from './transfer.ts';
import { readCpuS } from './usage.ts';

const MIB = 1_048_576;

const measure = async (contender: Contender, sizeMiB: number): Promise<number> => {
  const { from, to } = await contender.open();
  const before = await readCpuS(contender.pid);
  await transfer(from, to, sizeMiB * MIB);
  return ((await readCpuS(contender.pid)) - before) / (sizeMiB / 1_024);
};

export const cost = async (lab: Lab): Promise<Figure[]> => {
  const isQuick = lab.scale === 'quick';
  const ours = await openRowgram(lab);
  const others = [
    { contender: await openPipe(lab), sizeMiB: 1_024, ratio: 0.6 },
    { contender: await openEjabberdProxy(lab), sizeMiB: 1_024, ratio: 0.6 },
    // It takes half a minute for as much.
    { contender: await openProsodyProxy(lab), sizeMiB: 32, ratio: 0.1 },
  ];
  const figures: Figure[] = [];
  for (const { contender, sizeMiB, ratio } of others) {
    if (!contender) continue;
    const rounds: Rounds = { ours: [], baseline: [] };
    for (let round = 0; round < (isQuick ? 1 : 3); round += 1) {
      rounds.ours.push(await measure(ours, 1_024));
      rounds.baseline.push(await measure(contender, sizeMiB));
      const [own, other] = [rounds.ours.at(-1), rounds.baseline.at(-1)];
      lab.say(`cost: ${own?.toFixed(2)} s a GiB, ${contender.name} ${other?.toFixed(2)} s`);
    }
    const wanted = atMost('ratio', ratio);
    figures.push(compared('processor time a GiB, one stream', 's', contender.name, rounds, wanted));
  }
  return figures;
};
