/** Which services, addresses and answers will do for an upload, and what a failed one comes to. */
import { errorText, RejectError, RetryError } from '../../errors.ts';

/** A service and the largest file it takes; null when it does not say. */
export type Service = { jid: string; maxSizeBytes: number | null };

/**
 * The first service that takes a file so large.
 *
 * @throws RejectError when there is none
 */
export const chooseService = (services: readonly Service[], sizeBytes: number): Service => {
  const fitting = services.find(
    ({ maxSizeBytes }) => maxSizeBytes === null || maxSizeBytes >= sizeBytes,
  );
  if (fitting) return fitting;
  if (services.length === 0) {
    throw new RejectError('the server has no upload service (XEP-0363)', 'service-unavailable');
  }
  const largest = Math.max(...services.map(({ maxSizeBytes }) => maxSizeBytes ?? 0));
  throw new RejectError(
    `the attachment is ${sizeBytes} bytes, the upload service takes ${largest} at most`,
    'not-acceptable',
  );
};

/** @throws RejectError when the account does not send a file so large */
export const requireAttachmentSize = (sizeBytes: number, maxBytes: number): void => {
  if (sizeBytes <= maxBytes) return;
  throw new RejectError(
    `the attachment is ${sizeBytes} bytes, its account sends ${maxBytes} at most (max_attachment_bytes)`,
    'policy-violation',
  );
};

/** What of an account says how its files may travel. */
export type Trust = {
  tls: 'auto' | 'starttls' | 'direct' | 'none';
  ca: string | null;
  /** Where the account's server is, a host or its domain. */
  serverHost: string;
};

const loopback =
  /^(?:127(?:\.\d{1,3}){3}|0\.0\.0\.0|\[?::1?\]?|\[?::ffff:(?:7f|127\.|0:0|0\.).*|(?:.*\.)?localhost\.?)$/i;

/** Names and addresses that do not lead off this machine (RFC 6761 §6.3). */
const isLoopbackHost = (host: string): boolean => loopback.test(host);

/** A server elsewhere must not have us write to services of this machine. */
const isPrivate = ({ hostname }: URL, { serverHost }: Trust): boolean =>
  isLoopbackHost(hostname) && isLoopbackHost(serverHost);

/**
 * Whether the service may have the file go there: over https; without, where the account itself does
 * without TLS, or where neither leaves this machine.
 */
export const isAllowedUrl = (url: URL, trust: Trust): boolean => {
  if (isLoopbackHost(url.hostname) && !isLoopbackHost(trust.serverHost)) return false;
  if (url.protocol === 'https:') return true;
  return url.protocol === 'http:' && (trust.tls === 'none' || isPrivate(url, trust));
};

/** A private server on this machine has a certificate of its own making: it counts when a CA is given. */
export const needsCertificate = (url: URL, trust: Trust): boolean =>
  trust.tls !== 'auto' || trust.ca !== null || !isPrivate(url, trust);

/** Of HTTP errors that blame us, those that may pass (RFC 9110 §15.5.9, RFC 6585 §4). */
const PASSING = new Set([408, 429]);

/** @throws RejectError, or RetryError when it may work later, unless the file was taken */
export const requireTaken = (
  outcome: { status: number } | { status: null; reason: string },
): void => {
  if (outcome.status === null) throw new RetryError(`the upload broke off: ${outcome.reason}`, 0);
  const { status } = outcome;
  if (status >= 200 && status < 300) return;
  const text = `the upload was answered with HTTP ${status}`;
  if (status >= 500 || PASSING.has(status)) throw new RetryError(text, 0);
  const condition = status === 413 ? 'not-acceptable' : 'not-allowed';
  throw new RejectError(status < 400 ? `${text}; redirects are not followed` : text, condition);
};

const TRIES = 5;
const FIRST_MS = 2_000;

/** @param retries how often it has been tried again; @returns the verdict on the row, in words for it */
export const decideRetry = (error: unknown, retries: number): RetryError | RejectError => {
  if (error instanceof RejectError) return error;
  const text = errorText(error);
  if (retries < TRIES) return new RetryError(text, FIRST_MS * 4 ** retries);
  return new RejectError(`${text}; given up after ${TRIES} more tries`, 'remote-server-timeout');
};
