/** One direction of a connection through the fault proxy. */
import type { Socket } from 'node:net';

export type Direction = 'toServer' | 'toClient';
export type Pace = { bytesPerChunk: number; delayMs: number };

/** `hold` stops reading, `drop` reads and forgets. */
export type PumpMode = 'pass' | 'hold' | 'drop';

export type Pump = {
  set(mode: PumpMode, pace: Pace): void;
  /** Passes on what it has, then the end; forgets what comes after. */
  finish(): void;
  /** Forgets all that comes, for good. */
  sever(): void;
  /** How many bytes it has passed on. */
  bytes(): number;
};

export const createPump = (source: Socket, target: Socket): Pump => {
  let mode: PumpMode = 'hold';
  let pace: Pace = { bytesPerChunk: Number.POSITIVE_INFINITY, delayMs: 0 };
  let waiting = Buffer.alloc(0);
  let hasEnded = false;
  let isSevered = false;
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;

  const write = (size: number) => {
    const piece = waiting.subarray(0, size);
    waiting = waiting.subarray(piece.length);
    bytes += piece.length;
    if (piece.length > 0) target.write(piece);
  };
  /** Writes what may be written now, and sees to it that it is called again for the rest. */
  const step = () => {
    if (mode !== 'pass' || isSevered || timer || target.writableNeedDrain) return;
    write(pace.bytesPerChunk);
    if (waiting.length > 0) timer = setTimeout(tick, pace.delayMs);
    else if (hasEnded) target.end();
    else if (!target.writableNeedDrain) source.resume();
  };
  const tick = () => {
    timer = undefined;
    step();
  };
  const forget = () => {
    clearTimeout(timer);
    timer = undefined;
    waiting = Buffer.alloc(0);
  };
  const sever = () => {
    isSevered = true;
    forget();
    source.resume();
  };

  source.pause();
  source.on('data', (chunk) => {
    if (mode === 'drop' || isSevered) return;
    source.pause();
    waiting = Buffer.concat([waiting, chunk]);
    step();
  });
  source.on('end', () => {
    hasEnded = true;
    // Nobody else will answer it.
    if (isSevered) source.end();
    else step();
  });
  target.on('drain', step);
  target.on('close', forget);
  source.on('close', () => {
    if (!hasEnded) forget();
  });

  return {
    set(newMode, newPace) {
      mode = newMode;
      pace = newPace;
      if (isSevered) return;
      if (mode === 'drop') forget();
      if (mode === 'drop') source.resume();
      else source.pause();
      step();
    },
    finish() {
      if (isSevered) return;
      write(waiting.length);
      sever();
      target.end();
    },
    sever,
    bytes: () => bytes,
  };
};
