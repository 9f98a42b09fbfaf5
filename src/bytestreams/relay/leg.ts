/** One connection to the proxy, from its first byte until a stream takes it over. */
import type { Socket } from 'node:net';
import { createHandshake, type Handshake } from '../wire/handshake.ts';
import { Reply } from '../wire/socks5.ts';
import { plainAddress } from './admission.ts';
import type { OpenReading, Reader } from './reading.ts';

/** What the legs of one listener share. */
export type LegShared = {
  /** All that comes before the activation is read into it and copied out at once. */
  buffer: Buffer;
  earlyBytes: number;
  bounds(): { maxEarlyBytes: number; maxEarlyTotalBytes: number };
  now(): number;
};

export type LegHandlers = {
  /** Whether there is a place for it; it waits there until a stream takes it. */
  onAsked(leg: Leg, hash: string): Reply;
  /** It is closed; only said while no stream has it. */
  onClose(leg: Leg): void;
};

/** What a stream does with the leg once it has it. */
export type LegOwner = Reader & { onEnd(): void; onClose(): void };

export type Leg = {
  socket: Socket;
  address: string;
  /** Since when it is in the state that it is in, for its deadline. */
  sinceMs: number;
  state: 'handshake' | 'pending' | 'refused' | 'taken';
  /** Gives the leg to a stream: what has come so far, to be relayed first. */
  take(owner: LegOwner): Buffer;
  resume(): void;
};

export const createLeg = (
  accepted: Socket,
  open: OpenReading,
  shared: LegShared,
  { onAsked, onClose }: LegHandlers,
): Leg => {
  const address = plainAddress(accepted.remoteAddress ?? '');
  const handshake: Handshake = createHandshake();
  const early: Buffer[] = [];
  let earlyBytes = 0;
  let owner: LegOwner | null = null;

  const refuse = (send: Buffer | null) => {
    leg.state = 'refused';
    leg.sinceMs = shared.now();
    // What it still sends is read and dropped: closing on unread bytes would cost it the reply.
    if (send) socket.end(send);
    else socket.destroy();
    return true;
  };

  const keep = (bytes: Buffer): boolean => {
    const { maxEarlyBytes, maxEarlyTotalBytes } = shared.bounds();
    if (shared.earlyBytes + bytes.length > maxEarlyTotalBytes) {
      socket.resetAndDestroy();
      return false;
    }
    if (bytes.length > 0) early.push(Buffer.from(bytes));
    earlyBytes += bytes.length;
    shared.earlyBytes += bytes.length;
    return earlyBytes < maxEarlyBytes;
  };

  const greet = (bytes: Buffer): boolean => {
    const step = handshake.push(bytes);
    if (step.type === 'refused') return refuse(step.send);
    if (step.send) socket.write(step.send);
    if (step.type === 'waiting') return true;
    leg.state = 'pending';
    leg.sinceMs = shared.now();
    const reply = onAsked(leg, step.hash);
    if (reply !== Reply.succeeded) return refuse(step.reply(reply));
    socket.write(step.reply(reply));
    return keep(step.rest);
  };

  const onBytes = (bytes: Buffer): boolean => {
    switch (leg.state) {
      case 'handshake':
        return greet(bytes);
      case 'pending':
        return keep(bytes);
      case 'refused':
        return true;
      case 'taken':
        // The read that was under way when the stream took it went to the shared buffer.
        return (
          owner?.onBytes(bytes.buffer === shared.buffer.buffer ? Buffer.from(bytes) : bytes) ??
          false
        );
      default:
        return leg.state satisfies never;
    }
  };

  const nextBuffer = (): Buffer => {
    if (owner) return owner.nextBuffer();
    const room = shared.bounds().maxEarlyBytes - earlyBytes;
    return shared.buffer.subarray(0, Math.max(1, room));
  };

  const { socket, resume } = open(accepted, { nextBuffer, onBytes });
  const leg: Leg = {
    socket,
    address,
    sinceMs: shared.now(),
    state: 'handshake',
    take(given) {
      owner = given;
      leg.state = 'taken';
      shared.earlyBytes -= earlyBytes;
      earlyBytes = 0;
      return Buffer.concat(early.splice(0));
    },
    resume,
  };
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 30_000);
  socket.on('error', () => {});
  socket.on('end', () => {
    if (owner) owner.onEnd();
    else if (leg.state !== 'refused') socket.destroy();
  });
  socket.on('close', () => {
    shared.earlyBytes -= earlyBytes;
    earlyBytes = 0;
    if (owner) owner.onClose();
    else onClose(leg);
  });
  resume();
  return leg;
};
