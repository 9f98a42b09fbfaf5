/** Many streams at once: how fast they are set up, what they cost and hold; and connections that only wait. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { askStream } from '../../test/peers/socks5Client.ts';
import { absolute, atMost, compared, type Figure, quantile } from '../figure.ts';
import type { Lab } from '../lab.ts';
import {
  type Contender,
  openPipe,
  openProsodyProxy,
  openRowgram,
  type Stream,
} from './contenders.ts';
import { transfer } from './transfer.ts';
import { readCpuS, readRssMiB } from './usage.ts';

const MIB = 1_048_576;
const CONCURRENCY = 16;
/** Of each stream. */
const STREAM_MIB = 2;

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

/** Sets streams up. @returns them, and what they cost */
const setUp = async (contender: Contender, count: number) => {
  const streams: Stream[] = [];
  const before = await readCpuS(contender.pid);
  const times = await runMany(count, async () => void streams.push(await contender.open()));
  const cpuMs = (((await readCpuS(contender.pid)) - before) * 1_000) / count;
  return { streams, cpuMs, p99Ms: quantile(times, 0.99) };
};

/** Sends through all of them at once. */
const sendAll = async (contender: Contender, streams: Stream[]) => {
  let peakMiB = 0;
  const watch = setInterval(async () => {
    peakMiB = Math.max(peakMiB, await readRssMiB(contender.pid));
  }, 100);
  const before = await readCpuS(contender.pid);
  await Promise.all(streams.map(({ from, to }) => transfer(from, to, STREAM_MIB * MIB)));
  clearInterval(watch);
  const cpuS = (await readCpuS(contender.pid)) - before;
  return { peakMiB, perGibS: (cpuS * 1_024) / (streams.length * STREAM_MIB) };
};

const openAll = async (contender: Contender, count: number): Promise<Stream[]> => {
  const streams: Stream[] = [];
  while (streams.length < count) streams.push(await contender.open());
  return streams;
};

export const crowd = async (lab: Lab): Promise<Figure[]> => {
  const count = lab.scale === 'quick' ? 200 : 1_000;
  const prosody = await setUp(await openProsodyProxy(lab), count);
  for (const socket of prosody.streams.flatMap(({ from, to }) => [from, to])) socket.destroy();
  const pipe = await openPipe(lab);
  const piped = await sendAll(pipe, await openAll(pipe, count));
  const rowgram = await openRowgram(lab);
  const idleMiB = await readRssMiB(rowgram.pid);
  const ours = await setUp(rowgram, count);
  const sent = await sendAll(rowgram, ours.streams);
  const against = (figure: string, unit: string, name: string, own: number, other: number) =>
    // Ours of a set-up is beside that of the server which routes it, and writes rows.
    compared(figure, unit, name, { ours: [own], baseline: [other] }, atMost('ratio', 1.5));
  const setUps = `${count} set-ups, ${CONCURRENCY} at a time`;
  return [
    against(`99th percentile of ${setUps}`, 'ms', 'Prosody', ours.p99Ms, prosody.p99Ms),
    against('processor time of a set-up', 'ms', 'Prosody', ours.cpuMs, prosody.cpuMs),
    against(
      `processor time a GiB, ${count} streams at once`,
      's',
      'pipe()',
      sent.perGibS,
      piped.perGibS,
    ),
    absolute(
      `memory of ${count} streams at once, beside that of an idle daemon`,
      sent.peakMiB - idleMiB,
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
