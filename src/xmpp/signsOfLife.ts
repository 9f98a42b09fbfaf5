/** Notices a peer that is gone on a stream without acknowledgements: it is asked, and has to say something. */
import { RetryError } from '../errors.ts';
import { retryMs } from './attempt.ts';

/** Slower than any server, so that a long backlog is not taken for a dead peer. */
const SLOWEST_BYTES_PER_MS = 2;

export type SignsOfLife = {
  onSent(sizeBytes: number): void;
  /** Whatever it was that came. */
  onHeard(): void;
  close(): void;
};

type Parts = {
  /** How often the peer is asked, and the time it then has. */
  keepAliveMs: number;
  patienceMs: number;
  ask(): void;
  onSilent(error: Error): void;
};

export const watchSignsOfLife = ({
  keepAliveMs,
  patienceMs,
  ask,
  onSilent,
}: Parts): SignsOfLife => {
  let bytesUnanswered = 0;
  let deadline: NodeJS.Timeout | null = null;

  const calm = () => {
    if (deadline) clearTimeout(deadline);
    deadline = null;
  };
  // However much comes: Openfire closes a component that has itself said nothing for six minutes.
  const interval = setInterval(() => {
    ask();
    const ms = patienceMs + bytesUnanswered / SLOWEST_BYTES_PER_MS;
    const silent = `the server has not answered for ${Math.round(ms / 1_000)} s`;
    deadline ??= setTimeout(() => onSilent(new RetryError(silent, retryMs)), ms);
  }, keepAliveMs);

  return {
    onSent(sizeBytes) {
      bytesUnanswered += sizeBytes;
    },
    onHeard() {
      bytesUnanswered = 0;
      calm();
    },
    close() {
      clearInterval(interval);
      calm();
    },
  };
};
