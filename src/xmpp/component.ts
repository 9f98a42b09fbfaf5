/**
 * One live component stream (XEP-0114), from the first byte to the last: show that we know the secret,
 * pass stanzas on, notice when the other side is gone. What stanzas mean is its user's business.
 */
import { randomBytes } from 'node:crypto';
import { StringDecoder } from 'node:string_decoder';
import type { Element } from '@xmpp/client';
import { ProtocolError, RetryError } from '../errors.ts';
import { retryMs, runAttempt } from './attempt.ts';
import { type SignsOfLife, watchSignsOfLife } from './signsOfLife.ts';
import { connectTransport, isLoopbackAddress, type Transport } from './transport.ts';
import {
  componentNs,
  formatComponentHeader,
  formatHandshake,
  readComponentError,
} from './wire/component.ts';
import { formatPing } from './wire/entity.ts';
import { createStreamParser } from './wire/parser.ts';
import { formatTag } from './wire/tag.ts';

const NS_STREAM_ERROR = 'urn:ietf:params:xml:ns:xmpp-streams';

/** There is no STARTTLS on these streams. `auto` is TLS from the first byte, or in clear to this host. */
export type ComponentTls = 'auto' | 'direct' | 'none';

export type ComponentOptions = {
  /** In its normal form (RFC 7622). */
  domain: string;
  secret: string;
  /** The server's certificate must be for it. */
  host: string;
  port: number;
  tls: ComponentTls;
  ca: string | null;
  /** For the whole way until the session is usable. */
  loginMs?: number;
  /** How often the server is asked for a sign of life, and the time it has to give it. */
  keepAliveMs?: number;
  patienceMs?: number;
};

export type ComponentHandlers = {
  onStanza(stanza: Element): void;
  /** Once; null when we closed it. */
  onClose(error: Error | null): void;
};

export type ComponentSession = {
  via: string;
  /** Stanzas are told from now on, those first that have come already. */
  begin(): void;
  /** Writes whole stanzas, each with a `from` at the domain. */
  send(stanzas: string): void;
  isOpen(): boolean;
  close(): Promise<void>;
  /** Drops the connection without a word. */
  drop(error: Error | null): void;
};

const LOGIN_MS = 25_000;
const KEEP_ALIVE_MS = 60_000;
const PATIENCE_MS = 30_000;
const GOODBYE_MS = 2_000;

/** The life of a stream; settles when the server has taken the handshake. */
const createSession = (
  { socket, via }: Transport,
  options: ComponentOptions,
  handlers: ComponentHandlers,
  signal: AbortSignal,
): Promise<ComponentSession> => {
  const { domain, secret } = options;
  const parser = createStreamParser();
  const decoder = new StringDecoder('utf8');
  const opened = Promise.withResolvers<ComponentSession>();
  const ended = Promise.withResolvers<void>();
  const early: Element[] = [];
  let stage: 'handshake' | 'opened' | 'begun' | 'closing' = 'handshake';
  let isOpen = true;
  let streamError: Error | null = null;
  let life: SignsOfLife | null = null;
  let pingId = '';

  const write = (text: string) => {
    if (isOpen) socket.write(text);
  };

  const end = (error: Error | null) => {
    if (!isOpen) return;
    isOpen = false;
    life?.close();
    // What is held back is lost with the socket.
    socket.uncork();
    socket.destroy();
    ended.resolve();
    const ending = streamError ?? error;
    if (stage !== 'handshake') handlers.onClose(stage === 'closing' ? null : ending);
    else opened.reject(ending ?? new RetryError('the stream ended', retryMs));
  };

  // A component is not told its server's name, but what goes to its own domain comes back to it.
  const ping = () => {
    pingId = randomBytes(9).toString('base64url');
    write(formatTag('iq', { type: 'get', id: pingId, from: domain, to: domain }, formatPing()));
  };

  const onHandshake = (element: Element) => {
    if (!element.is('handshake', componentNs)) {
      throw new ProtocolError(`${element.name} came before the handshake`, 'XEP-0114 §3');
    }
    stage = 'opened';
    const { keepAliveMs = KEEP_ALIVE_MS, patienceMs = PATIENCE_MS } = options;
    life = watchSignsOfLife({ keepAliveMs, patienceMs, ask: ping, onSilent: end });
    opened.resolve(session);
  };

  const tell = (stanza: Element) => {
    const { id, from } = stanza.attrs;
    const isOwnPing = stanza.name === 'iq' && id === pingId && from === domain;
    if (!isOwnPing) handlers.onStanza(stanza);
  };

  const onElement = (element: Element) => {
    const error = readComponentError(element, domain);
    if (error) streamError = error;
    else if (stage === 'handshake') onHandshake(element);
    else if (!['message', 'presence', 'iq'].includes(element.name)) return;
    else if (stage === 'opened') early.push(element);
    else if (stage === 'begun') tell(element);
  };

  const session: ComponentSession = {
    via,
    begin() {
      if (!isOpen) return;
      stage = 'begun';
      for (const stanza of early.splice(0)) tell(stanza);
    },
    send(stanzas) {
      life?.onSent(stanzas.length);
      write(stanzas);
    },
    isOpen: () => isOpen,
    async close() {
      if (!isOpen) return;
      stage = 'closing';
      life?.close();
      write('</stream:stream>');
      const timeout = setTimeout(() => end(null), GOODBYE_MS);
      await ended.promise;
      clearTimeout(timeout);
    },
    drop: end,
  };

  const guard = (work: () => void) => {
    try {
      if (isOpen) work();
    } catch (error) {
      end(error instanceof Error ? error : new Error(String(error)));
    }
  };
  const lost = () => end(new RetryError('the server closed the connection', retryMs));
  parser.on('start', (header) => guard(() => write(formatHandshake(header, secret))));
  parser.on('element', (element) => guard(() => onElement(element)));
  parser.on('error', (error) => {
    if (error instanceof ProtocolError) {
      write(`<stream:error><${error.source} xmlns='${NS_STREAM_ERROR}'/></stream:error>`);
    }
    end(error);
  });
  parser.on('end', () => end(new RetryError('the server closed the stream', retryMs)));
  socket.on('data', (bytes) => {
    life?.onHeard();
    // The answers to what came in one packet go out in one write.
    socket.cork();
    parser.write(decoder.write(bytes));
    socket.uncork();
  });
  socket.on('error', (error) => end(new RetryError(error.message, retryMs, { cause: error })));
  socket.on('close', lost);
  signal.addEventListener('abort', () => stage === 'handshake' && end(signal.reason), {
    once: true,
  });
  // A reset may have come before anybody listened.
  if (socket.destroyed) lost();
  write(formatComponentHeader(domain));
  return opened.promise;
};

const chooseTls = ({ tls, host }: ComponentOptions): 'direct' | 'none' => {
  if (tls !== 'auto') return tls;
  return host === 'localhost' || isLoopbackAddress(host) ? 'none' : 'direct';
};

/**
 * Connects, and shows the secret.
 *
 * @param signal ends the way there at once; a session that is open is closed by its own means
 * @throws RejectError a wrong secret; ConfigError what a person must change; RetryError what may pass;
 *   ProtocolError a bad server, or with `conflict` for its source a domain that is taken
 */
export const openComponent = (
  options: ComponentOptions,
  handlers: ComponentHandlers,
  signal: AbortSignal,
): Promise<ComponentSession> => {
  const { domain, host, port, ca, loginMs: timeoutMs = LOGIN_MS } = options;
  return runAttempt(`the server of ${domain}`, timeoutMs, signal, async (attempt) => {
    const address = { domain: host, host, port, location: null };
    const security = { tls: chooseTls(options), protocol: null, ca };
    const transport = await connectTransport(
      { ...address, ...security, timeoutMs },
      attempt.signal,
    );
    attempt.stage = 'in the handshake';
    return createSession(transport, options, handlers, attempt.signal);
  });
};
