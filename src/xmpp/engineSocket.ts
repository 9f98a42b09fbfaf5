/** An established byte stream, in the shape that the negotiation engine expects of a socket. */
import { EventEmitter } from 'node:events';
import { RetryError } from '../errors.ts';
import { retryMs } from './attempt.ts';
import type { ByteStream } from './transport.ts';

export type EngineSocketEvents = {
  connect: [];
  data: [bytes: Buffer];
  error: [error: Error];
  /** `isDirty` tells whether it was an error that closed it. */
  close: [isDirty: boolean, reason: Error | null];
};

export type EngineSocket = EventEmitter<EngineSocketEvents> & {
  /** Whether the engine may take the stream for encrypted. */
  readonly secure: boolean;
  /** Says `connect` soon, and lets data flow; its arguments are the engine's and are ignored. */
  connect(...ignored: unknown[]): void;
  /** @returns false when the kernel has not taken it all yet; `onWritten` says when it has */
  write(text: string, onWritten?: (error?: Error | null) => void): boolean;
  end(): void;
  destroy(): void;
  pause(): void;
  resume(): void;
};

const closedError = (): RetryError => new RetryError('the connection is closed', retryMs);

/** Passes on what the stream says, from the call of the returned function on. */
const relay = (stream: ByteStream, emitter: EventEmitter<EngineSocketEvents>) => {
  let isConnected = false;

  const reportError = (error: Error): void => {
    // An emitter throws an error that nobody listens to, and the engine stops listening early.
    if (emitter.listenerCount('error') > 0) emitter.emit('error', error);
  };
  const reportClose = (): void => {
    emitter.emit('close', stream.errored !== null, stream.errored);
  };
  stream.on('error', (error) => (isConnected ? reportError(error) : undefined));
  stream.on('close', () => (isConnected ? reportClose() : undefined));
  return (): void => {
    isConnected = true;
    if (stream.closed) {
      reportError(stream.errored ?? closedError());
      reportClose();
      return;
    }
    stream.on('data', (bytes) => emitter.emit('data', bytes));
    emitter.emit('connect');
  };
};

/**
 * Wraps a stream that is ready to use. Nothing is read from it, nor told of it, before `connect`.
 * If it is closed by then, that is told as an error and a close, as if it could not be made.
 */
export const createEngineSocket = (stream: ByteStream, secure: boolean): EngineSocket => {
  const emitter = new EventEmitter<EngineSocketEvents>();
  const report = relay(stream, emitter);
  return Object.assign(emitter, {
    secure,
    // The engine listens for `connect` only after this has returned.
    connect: () => queueMicrotask(report),
    write(text: string, onWritten: (error?: Error | null) => void = () => {}): boolean {
      if (stream.writable) return stream.write(text, onWritten);
      queueMicrotask(() => onWritten(closedError()));
      return false;
    },
    end: () => void stream.end(),
    destroy: () => void stream.destroy(),
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
  });
};
