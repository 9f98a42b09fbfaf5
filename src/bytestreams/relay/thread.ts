/** The daemon's end of a listener's thread. */
import { Worker } from 'node:worker_threads';
import type { Activation, FromRelay, ToRelay, Verdict } from './messages.ts';

export type RelayThread = {
  send(message: Exclude<ToRelay, { type: 'activate' | 'close' }>): void;
  /** Rejects when the thread ends before it has answered. */
  activate(activation: Activation): Promise<Verdict>;
  /** Ends its streams, tells so, and ends the thread. */
  close(): Promise<void>;
};

export type ThreadHandlers = {
  onMessage(message: Exclude<FromRelay, { type: 'verdict' | 'closed' }>): void;
  /** The thread has ended by itself, and its streams with it. */
  onLost(error: unknown): void;
};

const CLOSE_MS = 2_000;

export const startRelayThread = ({ onMessage, onLost }: ThreadHandlers): RelayThread => {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { name: 'bytestreams' });
  const asked = new Map<number, PromiseWithResolvers<Verdict>>();
  const ended = Promise.withResolvers<void>();
  let requests = 0;
  let failure: unknown = new Error('the thread has ended');
  let isClosing = false;
  const post = (message: ToRelay) => worker.postMessage(message);

  worker.on('message', (message: FromRelay) => {
    if (message.type === 'closed') return;
    if (message.type !== 'verdict') return onMessage(message);
    asked.get(message.request)?.resolve(message.verdict);
    asked.delete(message.request);
  });
  worker.on('error', (error) => {
    failure = error;
  });
  worker.on('exit', () => {
    for (const { reject } of asked.values()) reject(failure);
    asked.clear();
    ended.resolve();
    if (!isClosing) onLost(failure);
  });

  return {
    send: post,
    activate(activation) {
      const answer = Promise.withResolvers<Verdict>();
      requests += 1;
      asked.set(requests, answer);
      post({ type: 'activate', request: requests, ...activation });
      return answer.promise;
    },
    async close() {
      isClosing = true;
      post({ type: 'close' });
      const timer = setTimeout(() => worker.terminate(), CLOSE_MS);
      await ended.promise;
      clearTimeout(timer);
    },
  };
};
