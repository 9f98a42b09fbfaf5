/**
 * Logs in over a ready byte stream. @xmpp/client opens the stream and speaks SASL; it sees nothing but
 * that. The stream is then taken out of its hands: its own parser feed, stream management and
 * reconnection lose or corrupt stanzas, and would cost each idle account some 50 kB.
 */
import { StringDecoder } from 'node:string_decoder';
import { type ClientEntity, client, type Element, xml } from '@xmpp/client';
import { ConfigError, ProtocolError, RejectError, RetryError } from '../errors.ts';
import { retryMs } from './attempt.ts';
import { createEngineSocket, type EngineSocket } from './engineSocket.ts';
import { createMechanisms } from './scram.ts';
import type { Transport } from './transport.ts';
import { createStreamParser, type StreamParser } from './wire/parser.ts';

const NS_STREAM = 'http://etherx.jabber.org/streams';
const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl';
/** The engine insists on one; its transport is ours. */
const SERVICE = 'xmpp://stream';
/** The engine's own deadline for each step; ours, over the whole login, is shorter. */
const ENGINE_MS = 60_000;

export type LoginOptions = {
  domain: string;
  username: string;
  password: string;
  tlsIsOff: boolean;
};

/** A stream that is logged in and has shown its features, and that nobody listens to any more. */
export type LoggedIn = {
  socket: EngineSocket;
  parser: StreamParser;
  decoder: StringDecoder;
  features: Element;
};

/** What the server said to a refused login, as a verdict. Source: RFC 6120 §6.5. */
const readSaslFailure = (failure: Element): Error => {
  const condition = failure.getChildElements()[0]?.getName() ?? 'undefined-condition';
  const text = failure.getChildText('text');
  const message = `login refused: ${condition}${text ? ` (${text})` : ''}`;
  return condition === 'temporary-auth-failure'
    ? new RetryError(message, retryMs)
    : new RejectError(message, condition);
};

/** The engine passes our verdicts on; what it says itself is of the stream or the socket. */
const readEngineError = (error: Error & { condition?: string }): Error => {
  const isVerdict = [ConfigError, ProtocolError, RejectError, RetryError].some(
    (verdict) => error instanceof verdict,
  );
  if (isVerdict) return error;
  const text = error.condition
    ? `the server ended the stream: ${error.condition}`
    : `${error.message} (logging in)`;
  return new RetryError(text, retryMs, { cause: error });
};

/** The features that the engine is to see: how to log in, and nothing that it would do its own way. */
const onlyMechanisms = (features: Element): Element => {
  const mechanisms = features.getChild('mechanisms', NS_SASL);
  const reduced = new xml.Element('stream:features', { 'xmlns:stream': NS_STREAM });
  if (mechanisms) reduced.append(mechanisms);
  return reduced;
};

/** Puts our socket and parser under the engine in place of its own. */
const installTransport = (
  entity: ClientEntity,
  socket: EngineSocket,
  onParser: (parser: StreamParser) => void,
) => {
  const isTcp = (transport: unknown) =>
    (transport as { prototype: { socketParameters(service: string): unknown } }).prototype // as in client-core
      .socketParameters('xmpp://localhost') !== undefined;
  const original = entity.transports.find(isTcp) as { prototype: object }; // it is always there
  // No arrow functions: the engine calls them with `new`, which gives the object they return.
  function Socket() {
    return socket;
  }
  function Parser() {
    const parser = createStreamParser();
    onParser(parser);
    return parser;
  }
  const prototype = Object.create(original.prototype, {
    Socket: { value: Socket },
    Parser: { value: Parser },
    socketParameters: { value: () => ({}) },
  });
  entity.transports = [{ prototype }];
};

const refuseFeatures = (tlsIsOff: boolean): ConfigError =>
  new ConfigError(
    tlsIsOff
      ? "the server offers no way to log in without TLS; set tls = 'auto'"
      : 'the server offers no way to log in',
  );

/**
 * @param onLoggedIn called in the middle of reading, so that what follows the features is not missed
 * @param signal its abort ends the login; the socket is destroyed on every failure
 * @throws RejectError when the password is refused, ConfigError when there is no way to log in,
 *   ProtocolError, or RetryError when the stream ends
 */
export const login = <Result>(
  transport: Transport,
  options: LoginOptions,
  signal: AbortSignal,
  onLoggedIn: (stream: LoggedIn) => Result,
): Promise<Result> => {
  const { domain, username, password, tlsIsOff } = options;
  const socket = createEngineSocket(transport.socket, transport.isSecure);
  const mayBePlain = transport.isSecure || transport.isLoopback;
  const { mechs, current } = createMechanisms({ plain: mayBePlain });
  const decoder = new StringDecoder('utf8');
  const outcome = Promise.withResolvers<Result>();
  let parser: StreamParser;
  let isLoggedIn = false;

  const entity = client({
    service: SERVICE,
    domain,
    // The engine's own choice would refuse PLAIN on a clear loopback stream.
    credentials: async (authenticate, mechanisms) => {
      const [best] = mechanisms;
      if (best === undefined) throw refuseFeatures(tlsIsOff);
      await authenticate({ username, password }, best);
    },
  });
  const fail = (error: Error) => {
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
    outcome.reject(error);
  };
  // Taken away at the end, since the session keeps the signal: with it the engine would stay in memory.
  const onAbort = () => fail(abortReason(signal));
  entity.reconnect.stop();
  entity.timeout = ENGINE_MS;
  entity.saslFactory._mechs = mechs;
  installTransport(entity, socket, (created) => {
    parser = created;
  });
  entity._onData = (bytes) => parser.write(decoder.write(Buffer.from(bytes)));
  const passOn = entity._onElement.bind(entity);

  const takeOver = (features: Element) => {
    isLoggedIn = true;
    signal.removeEventListener('abort', onAbort);
    socket.removeAllListeners();
    parser.removeAllListeners();
    entity.removeAllListeners();
    try {
      outcome.resolve(onLoggedIn({ socket, parser, decoder, features }));
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)));
    }
  };
  let hasAuthenticated = false;
  entity._onElement = (element) => {
    try {
      if (element.is('features', NS_STREAM)) {
        if (hasAuthenticated) return takeOver(element);
        if (!element.getChild('mechanisms', NS_SASL)) throw refuseFeatures(tlsIsOff);
        return passOn(onlyMechanisms(element));
      }
      if (element.is('failure', NS_SASL)) throw readSaslFailure(element);
      if (element.is('success', NS_SASL)) {
        current()?.verify(element.text());
        hasAuthenticated = true;
      }
      passOn(element);
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)));
    }
  };
  const failByEngine = (error: Error) => fail(readEngineError(error));
  entity.on('error', failByEngine);
  const lost = () => {
    if (!isLoggedIn) fail(new RetryError('the server closed the stream during login', retryMs));
  };
  entity.on('close', lost);
  entity.on('disconnect', lost);
  signal.addEventListener('abort', onAbort);
  // Its own `start` waits for more than it looks after: a reset in its midst would end the process.
  entity
    .connect(SERVICE)
    .then(() => entity.open({ domain }))
    .catch(failByEngine);
  return outcome.promise;
};

const abortReason = (signal: AbortSignal): Error =>
  signal.reason instanceof Error ? signal.reason : new ProtocolError('aborted', 'login');
