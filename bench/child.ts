/** The measured process as the bench sees it. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Aim } from './engines/engine.ts';
import type { Answer, Message, Order, Report, Sample, Started } from './worker.ts';

export type Child = {
  consume(aim: Aim): Promise<void>;
  stop(): Promise<void>;
  /** @returns when the first of the rows was started */
  awaitRows(rows: number): Promise<number>;
  sample(): Promise<Sample>;
  /** Called with each row that is started, where the aim is latency. */
  onStarted(listener: (started: Started) => void): void;
  close(): Promise<void>;
};

const WORKER = fileURLToPath(new URL('worker.ts', import.meta.url));

type Pending = { resolve(value: unknown): void; reject(error: Error): void };

/**
 * @param role an engine's name, or 'daemon'
 * @param nodeArgs besides those that we were started with, which are those of a daemon
 */
export const startChild = (role: string, url: string, nodeArgs: string[] = []): Child => {
  const worker = fork(WORKER, [role, url], { execArgv: [...process.execArgv, ...nodeArgs] });
  const pending = new Map<number, Pending>();
  let listener: (started: Started) => void = () => {};
  let lastNumber = 0;
  worker.on('message', (message: Answer | Report) => {
    if ('started' in message) {
      listener(message.started);
      return;
    }
    const waiting = pending.get(message.number);
    pending.delete(message.number);
    if (message.error === null) waiting?.resolve(message.value);
    else waiting?.reject(new Error(message.error));
  });
  worker.on('exit', (code) => {
    for (const { reject } of pending.values()) reject(new Error(`${role} has ended: ${code}`));
  });
  const send = (order: Order): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (!worker.connected) throw new Error(`${role} has ended`);
      lastNumber += 1;
      pending.set(lastNumber, { resolve, reject });
      worker.send({ number: lastNumber, order } satisfies Message);
    });
  return {
    async consume(aim) {
      await send({ kind: 'consume', aim });
    },
    async stop() {
      await send({ kind: 'stop' });
    },
    // What the worker answers to these orders.
    awaitRows: (rows) => send({ kind: 'await', rows }) as Promise<number>,
    sample: () => send({ kind: 'sample' }) as Promise<Sample>,
    onStarted(given) {
      listener = given;
    },
    async close() {
      if (worker.exitCode !== null || worker.signalCode !== null) return;
      const ended = once(worker, 'exit');
      worker.disconnect();
      await ended;
    },
  };
};
