/** One try at one address: bounded in time, ended by a signal, its failures told in plain words. */
import type { Socket } from 'node:net';
import { ConfigError, RetryError } from '../errors.ts';

export type Attempt = {
  /** The host and port, for errors. */
  readonly address: string;
  /** What is being waited for, for the error that tells of a timeout. */
  stage: string;
  readonly signal: AbortSignal;
};

export const retryMs = 1_000;

export const formatAddress = (host: string, port: number): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

/**
 * Runs `work` with a signal that aborts after `ms` milliseconds, with a RetryError that names the
 * stage, or together with `outer`. Neither a timer nor a listener outlives it.
 */
export const runAttempt = async <T>(
  address: string,
  ms: number,
  outer: AbortSignal | undefined,
  work: (attempt: Attempt) => Promise<T>,
): Promise<T> => {
  const controller = new AbortController();
  const attempt: Attempt = { address, stage: 'connecting', signal: controller.signal };
  const onTimeout = () => {
    const text = `${address} gave no answer within ${(ms / 1000).toFixed(1)} s (${attempt.stage})`;
    controller.abort(new RetryError(text, retryMs));
  };
  const onAbort = () => controller.abort(outer?.reason);
  outer?.throwIfAborted();
  outer?.addEventListener('abort', onAbort);
  const timer = setTimeout(onTimeout, ms);
  try {
    return await work(attempt);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener('abort', onAbort);
  }
};

const reasons: Record<string, string> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'its network is unreachable',
  ETIMEDOUT: 'it does not answer',
  ENOTFOUND: 'DNS knows no such host',
  ENODATA: 'DNS knows no address of it',
  EAI_AGAIN: 'the DNS lookup failed',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS from the first byte',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS from the first byte',
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: 'its TLS is not meant for XMPP',
};

const textField = (error: Error, field: string): string | null => {
  const value: unknown = Reflect.get(error, field);
  return typeof value === 'string' ? value : null;
};

/** OpenSSL's short reason stands in `reason`; an AggregateError of addresses has no message. */
const formatReason = (error: Error): string => {
  const code = textField(error, 'code') ?? '';
  return reasons[code] ?? textField(error, 'reason') ?? (error.message || code);
};

/** What a socket's error means for the account: TLS that cannot be agreed on needs a person. */
export const readSocketError = (error: Error, attempt: Attempt): Error => {
  const text = `${attempt.address}: ${formatReason(error)} (${attempt.stage})`;
  const isTls = /^(ERR_SSL|ERR_TLS|EPROTO)/.test(textField(error, 'code') ?? '');
  const options = { cause: error };
  return isTls ? new ConfigError(text, options) : new RetryError(text, retryMs, options);
};

/**
 * Waits on a socket until `read` makes something of an event. Leaves no listener behind.
 *
 * @param read gets the event's argument; null means to wait on, what it throws ends the wait
 * @throws RetryError or ConfigError when the socket fails or closes; the signal's reason when that
 *   aborts
 */
export const waitFor = <T>(
  socket: Socket,
  attempt: Attempt,
  event: 'connect' | 'secureConnect' | 'data',
  read: (argument: unknown) => T | null,
): Promise<T> =>
  new Promise<T>((resolve, reject) => {
    const settle = (finish: () => void): void => {
      socket.off(event, onEvent).off('error', onError).off('close', onClose);
      attempt.signal.removeEventListener('abort', onAbort);
      finish();
    };
    const fail = (error: unknown): void => settle(() => reject(error));
    const onError = (error: Error): void => fail(readSocketError(error, attempt));
    const onClose = (): void =>
      fail(new RetryError(`${attempt.address} closed the connection (${attempt.stage})`, retryMs));
    const onAbort = (): void => fail(attempt.signal.reason);
    const onEvent = (argument: unknown): void => {
      try {
        const value = read(argument);
        if (value !== null) settle(() => resolve(value));
      } catch (error) {
        fail(error);
      }
    };
    socket.on(event, onEvent).on('error', onError).on('close', onClose);
    attempt.signal.addEventListener('abort', onAbort);
    if (attempt.signal.aborted) onAbort();
    else if (socket.destroyed) onClose();
  });
