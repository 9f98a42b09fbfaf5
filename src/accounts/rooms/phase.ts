/** How far an account has got with a room, and what that means for messages to it. */
import { RejectError, RetryError } from '../../errors.ts';

/**
 * `away`: not tried on this stream; `asking`: what kind of address it is; `entered`: in, what was missed is
 * being read; `checking`: the stream went on, and the room is asked whether it still knows us.
 */
export type Phase =
  | 'away'
  | 'asking'
  | 'joining'
  | 'entered'
  | 'joined'
  | 'checking'
  | 'backoff'
  | 'refused'
  | 'left';

/** Whether it is in the room and has read what it had missed. */
export const isLevel = (phase: Phase): boolean => phase === 'joined' || phase === 'checking';

export const isIn = (phase: Phase): boolean => phase === 'entered' || isLevel(phase);

const WAIT_MS = 30_000;

/**
 * Holds messages back until the account is in for certain.
 *
 * @param why it is not in
 * @throws RetryError nothing can be sent there yet; RejectError nor will it be
 */
export const requireJoined = (jid: string, phase: Phase, why: string): void => {
  switch (phase) {
    case 'joined':
      return;
    case 'refused':
    case 'left': {
      const reason = phase === 'left' ? 'its row is disabled' : why;
      throw new RejectError(`the account is not in the room ${jid}: ${reason}`, 'not-acceptable');
    }
    case 'backoff':
      throw new RetryError(`the room ${jid} is not joined yet: ${why}`, WAIT_MS);
    default:
      throw new RetryError(`the room ${jid} is not joined yet`, WAIT_MS);
  }
};
