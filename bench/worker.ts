/** The process that is measured: a consumer of one engine, or the daemon; the bench gives it orders. */
import { createAccountsGateway } from '../src/accounts/gateway.ts';
import type { DatabaseAddress } from '../src/db/connect.ts';
import { startGateways } from '../src/gateway.ts';
import { createLog } from '../src/log.ts';
import { nowMs } from './clock.ts';
import type { Aim, Consumer } from './engines/engine.ts';
import { loadEngine } from './engines/list.ts';

export type Sample = { cpuUs: number; rssBytes: number; peakRssBytes: number };

export type Started = { key: number; atMs: number };

export type Order =
  /** Starts to consume; rows are counted from then on. */
  | { kind: 'consume'; aim: Aim }
  | { kind: 'stop' }
  /** Answered once so many rows have been started, with when the first one was. */
  | { kind: 'await'; rows: number }
  | { kind: 'sample' };

/** What goes over the channel: each order has a number, which its answer repeats. */
export type Message = { number: number; order: Order };
export type Answer = { number: number; value: unknown; error: string | null };
export type Report = { started: Started };

const [role = '', url = ''] = process.argv.slice(2);
const address: DatabaseAddress = { url, schema: 'public' };

let consumer: Consumer | null = null;
let aim: Aim = 'throughput';
let startedCount = 0;
let firstAtMs = 0;
let awaited = Promise.withResolvers<void>();
let awaitedCount = Number.POSITIVE_INFINITY;

const onStart = (key: number) => {
  const isFirst = startedCount === 0;
  startedCount += 1;
  if (isFirst) firstAtMs = nowMs();
  if (startedCount >= awaitedCount) awaited.resolve();
  if (aim === 'latency') process.send?.({ started: { key, atMs: nowMs() } } satisfies Report);
};

const startDaemon = (): Promise<Consumer> => {
  const log = createLog(process.env.LOG_LEVEL || 'silent', 2);
  const never = new AbortController().signal;
  return startGateways({ address, version: 'bench', log, create: [createAccountsGateway] }, never);
};

const start = async (): Promise<void> => {
  startedCount = 0;
  awaitedCount = Number.POSITIVE_INFINITY;
  consumer =
    role === 'daemon'
      ? await startDaemon()
      : await (await loadEngine(role)).consume(address, aim, onStart);
};

const stop = async (): Promise<void> => {
  await consumer?.stop();
  consumer = null;
};

const awaitRows = async (rows: number): Promise<number> => {
  awaited = Promise.withResolvers();
  awaitedCount = rows;
  if (startedCount < rows) await awaited.promise;
  return firstAtMs;
};

const sample = (): Sample => {
  // Memory that is only not collected yet is no cost of what it was used for.
  // What the collector keeps in hand is given back, too.
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  const { user, system } = process.cpuUsage();
  return {
    cpuUs: user + system,
    rssBytes: process.memoryUsage.rss(),
    peakRssBytes: process.resourceUsage().maxRSS * 1_024,
  };
};

const obey = async (order: Order): Promise<unknown> => {
  switch (order.kind) {
    case 'consume':
      aim = order.aim;
      return start();
    case 'stop':
      return stop();
    case 'await':
      return awaitRows(order.rows);
    case 'sample':
      return sample();
    default:
      return order satisfies never;
  }
};

const answer = async ({ number, order }: Message): Promise<void> => {
  let value: unknown = null;
  let error: string | null = null;
  try {
    value = await obey(order);
  } catch (cause) {
    error = cause instanceof Error ? (cause.stack ?? cause.message) : `${cause}`;
  }
  process.send?.({ number, value, error } satisfies Answer);
};

// Only the bench writes to this channel.
process.on('message', (message) => void answer(message as Message));
process.on('disconnect', () => process.exit(0));
