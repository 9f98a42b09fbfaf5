/** The way to a byte stream that is as secure as its account demands, whatever leads there. */
import { BlockList, connect, isIPv6, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ConfigError, errorText, ProtocolError, RetryError } from '../errors.ts';
import { type Attempt, formatAddress, retryMs, runAttempt, waitFor } from './attempt.ts';
import {
  type Candidate,
  findCandidates,
  type Resolver,
  systemResolver,
  type TlsMode,
} from './candidates.ts';
import { openTls, requestStartTls } from './startTls.ts';

export type { TlsMode } from './candidates.ts';

export type TransportOptions = {
  /** The domain of the JID. The certificate must be for it, whatever host is connected to. */
  domain: string;
  /** Empty to look it up in DNS. */
  host: string;
  /** Of the host, or of the domain when DNS has no SRV records for it. */
  port: number;
  tls: TlsMode;
  /** What direct TLS names in its handshake (XEP-0368); `xmpp-client` if absent, null for nothing. */
  protocol?: string | null;
  /** Where a stream is to be resumed, tried first; null for nowhere in particular. */
  location: string | null;
  /** PEM. These authorities are trusted instead of the ones Node comes with. */
  ca: string | null;
  /** For the whole way until the byte stream is ready, over all addresses. */
  timeoutMs: number;
  resolver?: Resolver;
};

export type ByteStream = Socket | TLSSocket;

export type Transport = {
  socket: ByteStream;
  /** Encrypted; and on another host than this one, its certificate was verified. */
  isSecure: boolean;
  /** The other end is this host, so that even clear text is not on a network. */
  isLoopback: boolean;
  /** For people: the address, how the stream is secured, whether the certificate was verified. */
  via: string;
};

const keepAliveMs = 60_000;
/** Node gives each address of a host 250 ms, too short for a satellite link. */
const addressMs = 1_000;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

export const isLoopbackAddress = (address: string): boolean =>
  loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');

const ignore = (): void => {};

/** A socket with the address at its other end, which the socket itself forgets once it is reset. */
type Connection = { socket: Socket; address: string; port: number };

const readPeer = (socket: Socket, attempt: Attempt): Connection => {
  const { remoteAddress: address, remotePort: port } = socket;
  if (address !== undefined && port !== undefined) return { socket, address, port };
  throw new RetryError(`${attempt.address} closed the connection (${attempt.stage})`, retryMs);
};

const connectTcp = async (
  { host, port }: Candidate,
  { lookup }: Resolver,
  attempt: Attempt,
): Promise<Connection> => {
  attempt.stage = 'connecting';
  const socket = connect({
    host,
    port,
    lookup,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: addressMs,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMs,
  });
  // For good: an error while nobody waits is told by whoever looks next and finds it destroyed.
  socket.on('error', ignore);
  try {
    return await waitFor(socket, attempt, 'connect', () => readPeer(socket, attempt));
  } catch (error) {
    socket.destroy();
    throw error;
  }
};

const buildTransport = ({ socket, address, port }: Connection, how: string): Transport => ({
  socket,
  isSecure: false,
  isLoopback: isLoopbackAddress(address),
  via: `${formatAddress(address, port)}, ${how}`,
});

const buildTlsTransport = (connection: Connection, secured: TLSSocket, how: string): Transport => {
  const trust = secured.authorized ? '' : ', certificate not verified';
  return { ...buildTransport(connection, how + trust), socket: secured, isSecure: true };
};

type Plan = { candidate: Candidate; options: TransportOptions; resolver: Resolver };

/**
 * Whether 'auto' may do with less. On loopback nobody listens in, and a private server there has a
 * certificate of its own making or none: TLS is used when offered, as it may insist on it, and its
 * certificate counts only when a CA was given to check it by.
 */
const isLenient = ({ address }: Connection, { tls }: TransportOptions): boolean =>
  tls === 'auto' && isLoopbackAddress(address);

const openSecure = async (
  connection: Connection,
  opening: 'direct' | 'starttls',
  options: TransportOptions,
  attempt: Attempt,
): Promise<Transport> => {
  const { domain, ca, protocol = 'xmpp-client' } = options;
  const certificate = ca === null && isLenient(connection, options) ? 'any' : 'verified';
  const terms = {
    domain,
    ca,
    protocol: opening === 'direct' ? protocol : null,
    certificate,
  } as const;
  const secured = await openTls(connection.socket, terms, attempt);
  return buildTlsTransport(connection, secured, opening === 'direct' ? 'direct TLS' : 'STARTTLS');
};

const openClear = async (
  connection: Connection,
  { candidate, options, resolver }: Plan,
  attempt: Attempt,
): Promise<Transport> => {
  if (!isLenient(connection, options)) {
    const hint = `set tls = 'none' to allow it in clear`;
    throw new ConfigError(`the server at ${attempt.address} does not offer TLS; ${hint}`);
  }
  // A stream was opened on the first connection, and only TLS or a log-in could restart it.
  connection.socket.destroy();
  return buildTransport(await connectTcp(candidate, resolver, attempt), 'in clear');
};

const openStream = async (
  connection: Connection,
  plan: Plan,
  attempt: Attempt,
): Promise<Transport> => {
  const { opening } = plan.candidate;
  switch (opening) {
    case 'none':
      return buildTransport(connection, 'in clear');
    case 'direct':
      return openSecure(connection, opening, plan.options, attempt);
    case 'starttls':
      return (await requestStartTls(connection.socket, plan.options.domain, attempt))
        ? openSecure(connection, opening, plan.options, attempt)
        : openClear(connection, plan, attempt);
    default:
      return opening satisfies never;
  }
};

const openCandidate = async (plan: Plan, attempt: Attempt): Promise<Transport> => {
  const connection = await connectTcp(plan.candidate, plan.resolver, attempt);
  try {
    return await openStream(connection, plan, attempt);
  } catch (error) {
    connection.socket.destroy();
    if (!(error instanceof ProtocolError)) throw error;
    const text = `${attempt.address} breaks the protocol: ${error.message}`;
    throw new ProtocolError(text, error.source, { cause: error });
  }
};

const isVerdict = (error: unknown): error is Error =>
  error instanceof RetryError || error instanceof ConfigError || error instanceof ProtocolError;

/** Of several failures all are told; while one of them may pass, it is worth trying again. */
const joinFailures = (failures: Error[]): Error => {
  const [first] = failures;
  if (first !== undefined && failures.length === 1) return first;
  const text = failures.map(errorText).join('; ');
  const options = { cause: failures };
  return failures.every((failure) => failure instanceof ConfigError)
    ? new ConfigError(text, options)
    : new RetryError(text, retryMs, options);
};

const tryEach = async (
  candidates: Candidate[],
  options: TransportOptions,
  resolver: Resolver,
  endAt: number,
  signal: AbortSignal | undefined,
): Promise<Transport> => {
  const failures: Error[] = [];
  for (const [index, candidate] of candidates.entries()) {
    const ms = Math.max(1, (endAt - performance.now()) / (candidates.length - index));
    const address = formatAddress(candidate.host, candidate.port);
    try {
      return await runAttempt(address, ms, signal, (attempt) =>
        openCandidate({ candidate, options, resolver }, attempt),
      );
    } catch (error) {
      if (signal?.aborted || !isVerdict(error)) throw error;
      failures.push(error);
    }
  }
  throw joinFailures(failures);
};

/**
 * Connects to the server of a domain. When several addresses are known they are tried in turn, each
 * with an even share of the time that is left.
 *
 * - `none` is in clear; `direct` is TLS from the first byte; `starttls` starts in clear and goes on
 *   in TLS or not at all.
 * - `auto` is `direct` for addresses that DNS lists so and `starttls` for all others, with less
 *   asked of an address on loopback, see `isLenient`.
 *
 * @param signal ends it at once
 * @returns a stream that nobody reads and that carries no stream header yet
 * @throws RetryError for the network, ConfigError for TLS, certificates and a domain that is not
 *   served, ProtocolError for a server that breaks STARTTLS; the signal's reason when it aborts
 */
export const connectTransport = async (
  options: TransportOptions,
  signal?: AbortSignal,
): Promise<Transport> => {
  const resolver = options.resolver ?? systemResolver;
  const endAt = performance.now() + options.timeoutMs;
  const candidates = await runAttempt('DNS', options.timeoutMs / 3, signal, (attempt) =>
    findCandidates(options, resolver, attempt.signal),
  );
  signal?.throwIfAborted();
  return tryEach(candidates, options, resolver, endAt, signal);
};
