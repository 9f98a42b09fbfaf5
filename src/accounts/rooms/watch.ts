/**
 * Notices when a room has lost the account without a word: after some silence the account pings itself
 * through it (XEP-0410).
 */
import { formatPing } from '../../xmpp/wire/entity.ts';
import type { Line } from '../part.ts';
import { isStillIn } from './roomAnswers.ts';

const PING_MS = 30_000;

type Parts = {
  line: Line;
  /** Under which the room has us. */
  address(): string;
  silenceMs: number;
  onLost(): void;
};

export const createWatch = ({ line, address, silenceMs, onLost }: Parts) => {
  let heardAt = 0;
  let timer: NodeJS.Timeout | null = null;
  /** Told apart from the ones before, so that an answer that is late says nothing. */
  let round = 0;

  const wait = () => {
    const leftMs = heardAt + silenceMs - Date.now();
    timer = setTimeout(
      () => {
        if (Date.now() - heardAt < silenceMs) wait();
        else check(start);
      },
      Math.max(1, leftMs),
    );
  };
  const stop = () => {
    round += 1;
    if (timer) clearTimeout(timer);
    timer = null;
  };
  const start = () => {
    stop();
    heardAt = Date.now();
    wait();
  };

  const ping = async (): Promise<boolean> => {
    try {
      await line.request({ to: address(), type: 'get', payload: formatPing(), timeoutMs: PING_MS });
      return true;
    } catch (error) {
      return isStillIn(error);
    }
  };
  const check = (onStillIn: () => void) => {
    const own = round;
    ping().then((isKnown) => {
      if (own !== round) return;
      if (isKnown) onStillIn();
      else onLost();
    });
  };

  return {
    /** Watches from now on. */
    start,
    stop,
    /** The room has said something. */
    hear(): void {
      heardAt = Date.now();
    },
    /** Asks at once. */
    check,
  };
};
