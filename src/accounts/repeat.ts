/** Work that is asked for again and again, and never done twice at once. */
import { errorText } from '../errors.ts';
import type { Log } from '../log.ts';

/** Runs `work` when asked, and once more when asked meanwhile. */
export const createRepeat = (work: () => Promise<void>, log: Log): { ask(): void } => {
  let isRunning = false;
  let isWanted = false;
  const run = async () => {
    isRunning = true;
    while (isWanted) {
      isWanted = false;
      await work().catch((error: unknown) =>
        log.debug({ reason: errorText(error) }, 'rows not matched'),
      );
    }
    isRunning = false;
  };
  return {
    ask() {
      isWanted = true;
      if (!isRunning) void run();
    },
  };
};
