/** From a TCP connection to TLS: the question for STARTTLS, the handshake, and the certificate. */
import { X509Certificate } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect, type TLSSocket } from 'node:tls';
import { ConfigError, ProtocolError, RetryError } from '../errors.ts';
import { type Attempt, retryMs, waitFor } from './attempt.ts';
import { readServerName } from './candidates.ts';
import { formatCertificateFailure } from './certificate.ts';
import {
  createPreStreamDecoder,
  formatStreamHeader,
  type PreStreamEvent,
  startTlsRequest,
} from './wire/preStream.ts';

export type TlsTerms = {
  domain: string;
  ca: string | null;
  /** Named in the handshake where TLS begins with the first byte (XEP-0368); null for nothing. */
  protocol: string | null;
  certificate: 'verified' | 'any';
};

const unanswered = `waiting for a stream header; or does it want tls = 'direct'?`;
const busyMs = 30_000;
const maxTextChars = 200;
const permanent = new Set(['host-unknown', 'host-gone', 'see-other-host', 'unsupported-version']);

const readStreamError = (
  { condition, text }: Extract<PreStreamEvent, { type: 'error' }>,
  domain: string,
  { address }: Attempt,
): Error => {
  const said = text === '' ? '' : ` (${text.slice(0, maxTextChars)})`;
  const message = `${address} refuses a stream to ${domain}: ${condition}${said}`;
  if (permanent.has(condition)) return new ConfigError(message);
  return new RetryError(message, condition === 'resource-constraint' ? busyMs : retryMs);
};

const outOfTurn = (what: string): ProtocolError =>
  new ProtocolError(`${what} came out of turn`, 'RFC 6120 §5.4.2');

type Refusal = Exclude<PreStreamEvent, { type: 'features' | 'proceed' | 'other' }>;

const readRefusal = (event: Refusal, domain: string, attempt: Attempt): Error => {
  const { address, stage } = attempt;
  switch (event.type) {
    case 'failure':
      return new RetryError(`${address} offers TLS but refused to start it`, retryMs);
    case 'error':
      return readStreamError(event, domain, attempt);
    case 'end':
      return new RetryError(`${address} ended the stream (${stage})`, retryMs);
    case 'tlsAlert':
      return new ConfigError(`${address} wants TLS from the first byte; set tls = 'direct' for it`);
    default:
      return event satisfies never;
  }
};

/** Reads one answer of the server, and asks once TLS is offered. Null while that goes on. */
const createNegotiation = (socket: Socket, domain: string, attempt: Attempt) => {
  let isAsked = false;

  const ask = (): null => {
    if (isAsked) throw outOfTurn('a second list of features');
    isAsked = true;
    attempt.stage = 'waiting for the go-ahead to TLS';
    socket.write(startTlsRequest);
    return null;
  };
  return (event: PreStreamEvent): boolean | null => {
    switch (event.type) {
      case 'features':
        return event.offersTls ? ask() : false;
      case 'proceed':
        if (!isAsked) throw outOfTurn('the go-ahead to TLS');
        return true;
      case 'other':
        return null;
      default:
        throw readRefusal(event, domain, attempt);
    }
  };
};

/**
 * Asks for TLS on a fresh connection. Afterwards the stream is used up: it carries TLS or nothing.
 *
 * @returns whether the server is ready for the handshake; false when it does not offer TLS
 * @throws ConfigError, RetryError or ProtocolError when the server refuses the stream or breaks it
 */
export const requestStartTls = (
  socket: Socket,
  domain: string,
  attempt: Attempt,
): Promise<boolean> => {
  const decode = createPreStreamDecoder();
  const negotiate = createNegotiation(socket, domain, attempt);

  const read = (bytes: unknown): boolean | null => {
    if (!Buffer.isBuffer(bytes)) return null;
    if (attempt.stage === unanswered) attempt.stage = 'waiting for the stream features';
    for (const event of decode(bytes)) {
      const answer = negotiate(event);
      // Paused, so that nothing is read as clear text between here and the handshake.
      if (answer !== null) socket.pause();
      if (answer !== null) return answer;
    }
    return null;
  };
  attempt.stage = unanswered;
  socket.write(formatStreamHeader(domain));
  return waitFor(socket, attempt, 'data', read);
};

/** Node itself takes anything, and then trusts nobody. */
const requirePem = (ca: string): void => {
  try {
    new X509Certificate(ca);
  } catch (cause) {
    throw new ConfigError('the ca is not a certificate in PEM', { cause });
  }
};

const startHandshake = (socket: Socket, name: string, terms: TlsTerms): TLSSocket =>
  connect({
    socket,
    ...(isIP(name) === 0 && { servername: name }),
    ...(terms.ca !== null && { ca: terms.ca }),
    ...(terms.protocol !== null && { ALPNProtocols: [terms.protocol] }),
    checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
    // Node would destroy the socket before the certificate can be described. It is refused below.
    rejectUnauthorized: false,
  });

const requireVerified = (socket: TLSSocket, name: string, { address }: Attempt): void => {
  if (socket.authorized) return;
  // Node declares an Error but keeps its code here, or its message when it has none.
  const code = String(socket.authorizationError);
  const failure = formatCertificateFailure(code, socket.getPeerCertificate(), name, new Date());
  throw new ConfigError(`the certificate of ${address} ${failure}`);
};

const ignore = (): void => {};

/**
 * Does the TLS handshake on a connection from which nothing more has been read.
 *
 * @returns the secured socket; whether its certificate was verified stands in its `authorized`
 * @throws ConfigError when TLS cannot be agreed on or the certificate is not accepted
 */
export const openTls = async (
  socket: Socket,
  terms: TlsTerms,
  attempt: Attempt,
): Promise<TLSSocket> => {
  if (socket.readableLength > 0) throw outOfTurn('data in clear');
  attempt.stage = 'in the TLS handshake';
  const name = readServerName(terms.domain);
  if (terms.ca !== null) requirePem(terms.ca);
  const secured = startHandshake(socket, name, terms).on('error', ignore);
  try {
    await waitFor(secured, attempt, 'secureConnect', () => true);
    if (terms.certificate === 'verified') requireVerified(secured, name, attempt);
  } catch (error) {
    secured.destroy();
    throw error;
  }
  return secured;
};
