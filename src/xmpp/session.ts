/**
 * One live client stream, from the first byte to the last: log in, resume or bind, keep count, notice
 * when the other side is gone. What stanzas mean is its user's business.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Element } from '@xmpp/client';
import { ConfigError, ProtocolError, RetryError } from '../errors.ts';
import { type Agreed, agree, type Resumption } from './agreement.ts';
import { retryMs, runAttempt } from './attempt.ts';
import { type LoggedIn, login } from './login.ts';
import { createOutboundCounter, NS_SM, nextCount } from './streamManagement.ts';
import { connectTransport, type TlsMode, type TransportOptions } from './transport.ts';
import { formatPing } from './wire/entity.ts';
import { parseJid } from './wire/jid.ts';
import { escapeAttribute } from './wire/xml.ts';

const NS_STREAM = 'http://etherx.jabber.org/streams';

export type SessionOptions = {
  jid: string;
  password: string;
  resource: string;
  host: string;
  port: number;
  tls: TlsMode;
  ca: string | null;
  /** The stream to resume, if there is one (XEP-0198 §5). */
  resumption: Resumption | null;
  resolver?: TransportOptions['resolver'];
  /** For the whole way until the session is usable. */
  loginMs?: number;
  /** Silence after which the peer is asked for a sign of life, and the time it has to give it. */
  keepAliveMs?: number;
  patienceMs?: number;
};

export type SessionHandlers = {
  /** `count` is the stanza's number on the stream, to be given to `commit`; null when it has none. */
  onStanza(stanza: Element, count: number | null): void;
  /** So many more stanzas, in the order sent, are with the server for certain. */
  onAcknowledged(stanzas: number): void;
  /** Once; null when we closed it. Stanzas not acknowledged by then are in doubt. */
  onClose(error: Error | null): void;
};

export type Session = Omit<Agreed, 'hasManagement'> & {
  via: string;
  /** Stanzas are told from now on, those first that have come already. */
  begin(): void;
  /** Writes whole stanzas, so many of them, and asks for an acknowledgement in the same write. */
  send(stanzas: string, count: number): void;
  /** All stanzas up to this number are dealt with for good: the server may forget them. */
  commit(count: number): void;
  /** Stops and goes on reading, so that a slow database slows the server down, not us. */
  pause(): void;
  resume(): void;
  isOpen(): boolean;
  /** Says goodbye: unacknowledged stanzas go to the offline store. */
  close(): Promise<void>;
  /** Drops the connection without a word, so that the stream can be resumed. */
  drop(error: Error | null): void;
};

const LOGIN_MS = 25_000;
const KEEP_ALIVE_MS = 60_000;
const PATIENCE_MS = 30_000;
const GOODBYE_MS = 2_000;
/** For what is on its way to the database when we say goodbye. */
const CATCH_UP_MS = 1_000;
/** Slower than any server's throttle, so that a long backlog is not taken for a dead peer. */
const SLOWEST_BYTES_PER_MS = 2;

/** A stream error as a verdict. Source: RFC 6120 §4.9.3. */
export const readStreamError = (element: Element): Error => {
  const condition = element.getChildElements()[0]?.getName() ?? 'undefined-condition';
  const text = element.getChildText('text');
  return new ProtocolError(
    `the server ended the stream: ${condition}${text ? ` (${text})` : ''}`,
    condition,
  );
};

const randomId = (): string => randomBytes(9).toString('base64url');

type Stream = LoggedIn & { via: string };
type Counting = 'counted' | 'uncounted';

/** The life of a stream after login. */
const createSession = async (
  stream: Stream,
  options: SessionOptions,
  handlers: SessionHandlers,
  signal: AbortSignal,
): Promise<Session> => {
  const { socket, parser, decoder, via } = stream;
  const { keepAliveMs = KEEP_ALIVE_MS, patienceMs = PATIENCE_MS, resumption } = options;
  const domain = parseJid(options.jid).domain;
  let agreed: Agreed | null = null;
  let outbound = createOutboundCounter();
  let received = resumption?.h ?? 0;
  let committed = received;
  let isAcknowledgementOwed = false;
  let isOpen = true;
  let isClosing = false;
  let streamError: Error | null = null;
  let ending: Error | null = null;
  // Without stream management a ping after the stanzas says that those before it were taken.
  const pings = new Map<string, number>();
  let bytesUnanswered = 0;
  let timer: NodeJS.Timeout | null = null;
  let hasBegun = false;
  const early: { element: Element; counting: Counting }[] = [];
  const ended = Promise.withResolvers<void>();
  const caughtUp = Promise.withResolvers<void>();

  const write = (text: string) => socket.write(text);

  const end = (error: Error | null) => {
    if (!isOpen) return;
    isOpen = false;
    if (timer) clearTimeout(timer);
    socket.destroy();
    ended.resolve();
    ending = streamError ?? error;
    if (agreed) handlers.onClose(isClosing ? null : ending);
    else exchange.fail(ending ?? new RetryError('the stream ended', retryMs));
  };

  const askForLife = (): string => {
    if (agreed?.hasManagement) return `<r xmlns='${NS_SM}'/>`;
    const id = randomId();
    pings.set(id, outbound.sent());
    return `<iq type='get' id='${id}' to='${escapeAttribute(domain)}'>${formatPing()}</iq>`;
  };

  /** One timer: first the silence, then the wait for the answer. */
  const watch = () => {
    if (timer) clearTimeout(timer);
    timer = setTimeout(() => {
      write(askForLife());
      awaitAnswer();
    }, keepAliveMs);
  };
  const awaitAnswer = () => {
    if (timer) clearTimeout(timer);
    const ms = patienceMs + bytesUnanswered / SLOWEST_BYTES_PER_MS;
    const silent = `the server has not answered for ${Math.round(ms / 1_000)} s`;
    timer = setTimeout(() => end(new RetryError(silent, retryMs)), ms);
  };

  const onAcknowledged = (h: number) => {
    const fresh = outbound.acknowledge(h);
    if (outbound.unacknowledged() === 0) bytesUnanswered = 0;
    if (fresh > 0) handlers.onAcknowledged(fresh);
  };

  const sendAcknowledgement = () => {
    isAcknowledgementOwed = false;
    write(`<a xmlns='${NS_SM}' h='${committed}'/>`);
  };

  /** @returns whether it was the answer to a ping of ours */
  const takePong = (element: Element): boolean => {
    const { id = '', from, type } = element.attrs;
    const sent = pings.get(id);
    const isAnswer = element.name === 'iq' && (type === 'result' || type === 'error');
    if (sent === undefined || !isAnswer || (from && from !== domain)) return false;
    pings.delete(id);
    if (agreed?.hasManagement === false) onAcknowledged(sent);
    return true;
  };

  const onLiveElement = (element: Element, counting: Counting) => {
    if (element.is('r', NS_SM)) {
      // What is on its way to the database is acknowledged when it is there.
      if (committed === received) sendAcknowledgement();
      else isAcknowledgementOwed = true;
    } else if (element.is('a', NS_SM)) onAcknowledged(Number(element.attrs.h));
    else if (!isClosing && ['message', 'presence', 'iq'].includes(element.name)) {
      const isManaged = agreed?.hasManagement === true && counting === 'counted';
      if (isManaged) received = nextCount(received);
      if (takePong(element)) return;
      handlers.onStanza(element, isManaged ? received : null);
    }
  };

  const onElement = (element: Element) => {
    if (!isOpen) return;
    // Any sign of life will do.
    if (agreed) watch();
    if (element.is('error', NS_STREAM)) {
      streamError = readStreamError(element);
      return;
    }
    if (!exchange.isDone() && exchange.onElement(element)) return;
    // Only what follows the agreement is counted (XEP-0198 §4).
    if (hasBegun) onLiveElement(element, 'counted');
    else early.push({ element, counting: exchange.isDone() ? 'counted' : 'uncounted' });
  };

  socket.on('data', (bytes) => parser.write(decoder.write(bytes)));
  socket.on('error', (error) => end(new RetryError(error.message, retryMs, { cause: error })));
  socket.on('close', () => end(new RetryError('the connection was closed', retryMs)));
  parser.on('element', (element) => {
    try {
      onElement(element);
    } catch (error) {
      end(error instanceof Error ? error : new Error(String(error)));
    }
  });
  parser.on('error', (error) => {
    if (error instanceof ProtocolError) {
      write(
        `<stream:error><${error.source} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>`,
      );
    }
    end(error);
  });
  parser.on('end', () => end(new RetryError('the server closed the stream', retryMs)));

  const exchange = agree(stream.features, options, write);
  signal.addEventListener('abort', () => agreed ?? end(signal.reason), { once: true });
  const agreement = await exchange.agreed;
  // The end may have come in one packet with the agreement.
  if (!isOpen) throw ending ?? new RetryError('the stream ended', retryMs);
  agreed = agreement;
  if (agreement.isResumed) outbound = createOutboundCounter(agreement.handledBefore ?? 0);
  else received = committed = 0;
  watch();

  return {
    ...agreement,
    via,
    begin() {
      hasBegun = true;
      for (const { element, counting } of early.splice(0)) onLiveElement(element, counting);
    },
    send(stanzas, count) {
      if (!isOpen) return;
      outbound.count(count);
      bytesUnanswered += stanzas.length;
      write(stanzas + askForLife());
      awaitAnswer();
    },
    commit(count) {
      committed = count;
      if (isClosing && committed === received) caughtUp.resolve();
      if (isAcknowledgementOwed && isOpen) sendAcknowledgement();
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    isOpen: () => isOpen,
    async close() {
      if (!isOpen) return;
      // What comes from now on is left to the offline store, and what came before is not: the server
      // would keep for the next session what we store and do not acknowledge.
      isClosing = true;
      const tired = delay(CATCH_UP_MS, undefined, { ref: false });
      if (committed !== received) await Promise.race([caughtUp.promise, ended.promise, tired]);
      if (!isOpen) return;
      if (agreement.hasManagement) sendAcknowledgement();
      write('</stream:stream>');
      const timeout = setTimeout(() => end(null), GOODBYE_MS);
      await ended.promise;
      clearTimeout(timeout);
    },
    drop: (error) => end(error),
  };
};

/**
 * Connects, logs in, and resumes or binds.
 *
 * @param signal ends the way there at once; a session that is open is closed by its own means
 * @throws ConfigError what a person must change; RetryError what may pass; ProtocolError a bad server
 */
export const openSession = (
  options: SessionOptions,
  handlers: SessionHandlers,
  signal: AbortSignal,
): Promise<Session> => {
  const { local, domain } = parseJid(options.jid);
  if (local === null)
    throw new ConfigError(`'${options.jid}' is no account: it has no name before the @`);
  const ms = options.loginMs ?? LOGIN_MS;
  return runAttempt(`the server of ${domain}`, ms, signal, async (attempt) => {
    const { host, port, tls, ca, resolver } = options;
    const location = options.resumption?.location ?? null;
    const address = { domain, host, port, location };
    const way = { ...address, tls, ca, timeoutMs: ms, ...(resolver && { resolver }) };
    const transport = await connectTransport(way, attempt.signal);
    attempt.stage = 'logging in';
    const credentials = {
      domain,
      username: local,
      password: options.password,
      tlsIsOff: !transport.isSecure,
    };
    return login(transport, credentials, attempt.signal, (stream) => {
      attempt.stage = 'binding the resource';
      return createSession({ ...stream, via: transport.via }, options, handlers, attempt.signal);
    });
  });
};
