/** Many streams at once: how fast they are set up, what they cost and hold; and connections that only wait. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { askStream } from '../../test/peers/socks5Client.ts';
import { absolute, atMost, type Figure, quantile } from '../figure.ts';
import type { Lab } from '../lab.ts';
import { openRowgram, type Stream } from './contenders.ts';
import { transfer } from './transfer.ts';
import { readCpuS, readRssMiB } from './usage.ts';

const MIB = 1_048_576;
const CONCURRENCY = 16;

/** Runs so many at a time. @returns what each has taken, in milliseconds */
const runMany = async (count: number, work: () => Promise<void>): Promise<number[]> => {
  const times: number[] = [];
  let left = count;
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      const since = performance.now();
      await work();
      times.push(performance.now() - since);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return times;
};

export const crowd = async (lab: Lab): Promise<Figure[]> => {
  const count = lab.scale === 'quick' ? 200 : 1_000;
  const ours = await openRowgram(lab);
  const streams: Stream[] = [];
  const idleMiB = await readRssMiB(ours.pid);
  const before = await readCpuS(ours.pid);
  const times = await runMany(count, async () => void streams.push(await ours.open()));
  const setUpS = (await readCpuS(ours.pid)) - before;
  let peakMiB = 0;
  const watch = setInterval(async () => {
    peakMiB = Math.max(peakMiB, await readRssMiB(ours.pid));
  }, 100);
  const started = await readCpuS(ours.pid);
  await Promise.all(streams.map(({ from, to }) => transfer(from, to, 2 * MIB)));
  clearInterval(watch);
  const relayS = (await readCpuS(ours.pid)) - started;
  return [
    absolute(
      `set-up of a stream, ${count} at concurrency ${CONCURRENCY}, 99th percentile`,
      quantile(times, 0.99),
      'ms',
      atMost('value', 100),
    ),
    absolute('processor time of a set-up', (setUpS * 1_000) / count, 'ms', atMost('value', 2)),
    absolute(
      `processor time a GiB, ${count} streams at once`,
      relayS / ((count * 2) / 1_024),
      's',
      atMost('value', 2),
    ),
    absolute(
      `memory of ${count} streams at once, beside that of an idle daemon`,
      peakMiB - idleMiB,
      'MiB',
      atMost('value', 300),
    ),
  ];
};

export const pending = async (lab: Lab): Promise<Figure[]> => {
  const count = lab.scale === 'quick' ? 1_000 : 5_000;
  const ours = await openRowgram(lab, { max_pending: 10_000, max_pending_per_address: 10_000 });
  const idleMiB = await readRssMiB(ours.pid);
  const sockets: Socket[] = [];
  let asked = 0;
  await runMany(count, async () => {
    asked += 1;
    const hash = asked.toString(16).padStart(40, '0');
    const { socket, code } = await askStream(ours.port, hash);
    if (code !== 0) throw new Error(`reply ${code}`);
    sockets.push(socket);
  });
  const heldMiB = (await readRssMiB(ours.pid)) - idleMiB;
  const { from, to } = await ours.open();
  await transfer(from, to, MIB);
  for (const socket of sockets) socket.destroy();
  await Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close')));
  return [
    absolute(`memory of ${count} connections that wait`, heldMiB, 'MiB', atMost('value', 100)),
  ];
};
