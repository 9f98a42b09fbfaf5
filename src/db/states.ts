/** What became of links, on its way to their rows: the last word of each, one statement at a time. */
import { errorText } from '../errors.ts';
import type { Log } from '../log.ts';

const GATHER_MS = 50;
const RETRY_MS = 1_000;

export type States<State> = {
  report(state: State): void;
  /** Forgets what is not written: another daemon may have more to say by now. */
  clear(): void;
  /** Settles when what was reported so far has been written, or could not be. */
  flushed(): Promise<void>;
};

export const createStates = <State>(
  idOf: (state: State) => number,
  write: (states: State[]) => Promise<void>,
  log: Log,
): States<State> => {
  let waiting = new Map<number, State>();
  let timer: NodeJS.Timeout | null = null;
  /** Never two at once: the later one could be committed first. */
  let writing: Promise<void> = Promise.resolve();

  const writeWaiting = async () => {
    const batch = waiting;
    waiting = new Map();
    if (batch.size === 0) return;
    try {
      await write([...batch.values()]);
    } catch (error) {
      log.debug({ reason: errorText(error) }, 'states not written');
      // Under what has been said meanwhile.
      waiting = new Map([...batch, ...waiting]);
      arm(RETRY_MS);
    }
  };
  const flush = (): Promise<void> => {
    writing = writing.then(writeWaiting);
    return writing;
  };
  const disarm = () => {
    if (timer) clearTimeout(timer);
    timer = null;
  };
  const arm = (ms: number) => {
    timer ??= setTimeout(() => {
      timer = null;
      void flush();
    }, ms);
  };

  return {
    report(state) {
      waiting.set(idOf(state), state);
      arm(GATHER_MS);
    },
    clear() {
      waiting.clear();
      disarm();
    },
    async flushed() {
      await flush();
      disarm();
    },
  };
};
