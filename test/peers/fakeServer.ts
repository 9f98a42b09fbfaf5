/**
 * An XMPP server that does what a test tells it, for what real servers never do. It shares no code
 * with the product, and has no TLS.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { createFakeSession, type FakeSession, type Resumable } from './fakeSession.ts';
import type { Stanza } from './xmlReader.ts';

/** Where the server can fall silent: the named thing is what it then never sends. */
export type Step =
  | 'header'
  | 'features'
  | 'proceed'
  | 'challenge'
  | 'success'
  | 'features after login'
  | 'bound'
  | 'enabled'
  | 'resumed'
  | 'acks'
  | 'results'
  | 'footer';

/** Read anew at every step, so a change holds for the connections that are open. */
export type Script = {
  /** Of every account. */
  password: string;
  mechanisms: string[];
  starttls: 'absent' | 'offered' | 'required';
  streamManagement: 'offered' | 'absent';
  /** `counted` refuses it too, and tells how many stanzas had arrived (XEP-0198 §5). */
  resumption: 'accepted' | 'refused' | 'counted';
  /** The SASL condition that refuses every password, such as `account-disabled`; null for none. */
  authFailure: string | null;
  silentAt: Step | null;
  /** Sees every top-level element first, and may answer it itself. */
  onStanza(session: FakeSession, stanza: Stanza): 'handled' | 'unhandled';
};

export type FakeServer = {
  host: string;
  port: number;
  domain: string;
  /** All connections since the start, in order, with their times. */
  sessions: FakeSession[];
  change(script: Partial<Script>): void;
  /** Settles with the connection of that number, counted from 1, when it is made. */
  waitForConnection(number: number, timeoutMs?: number): Promise<FakeSession>;
  /** The same, when so many connections are bound or resumed. */
  waitForSession(number: number, timeoutMs?: number): Promise<FakeSession>;
  /** Connections whose password was accepted. */
  logins(): FakeSession[];
  stop(): Promise<void>;
};

const HOST = '127.0.0.1';
const DOMAIN = 'fake.test';
const HONEST: Script = {
  password: 'secret',
  mechanisms: ['SCRAM-SHA-1', 'PLAIN'],
  starttls: 'absent',
  streamManagement: 'offered',
  resumption: 'accepted',
  authFailure: null,
  silentAt: null,
  onStanza: () => 'unhandled',
};

/** Without a script it is an honest server with `secret` for a password. */
export const startFakeServer = async (options: Partial<Script> = {}): Promise<FakeServer> => {
  const script = { ...HONEST, ...options };
  const sessions: FakeSession[] = [];
  const resumables = new Map<string, Resumable>();
  // A peer that ends its side still gets what the script has for it.
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    const onProgress = () => server.emit('progress');
    sessions.push(createFakeSession({ socket, domain: DOMAIN, script, resumables, onProgress }));
    onProgress();
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  return createControls(server, sessions, script);
};

const createControls = (server: Server, sessions: FakeSession[], script: Script): FakeServer => {
  const waitFor = async (find: () => FakeSession | undefined, timeoutMs = 5_000) => {
    const signal = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const session = find();
      if (session) return session;
      await once(server, 'progress', { signal });
    }
  };
  const established = () => sessions.filter(({ state }) => state.establishedAt !== null);
  return {
    host: HOST,
    port: portOf(server),
    domain: DOMAIN,
    sessions,
    change: (change) => {
      Object.assign(script, change);
    },
    waitForConnection: (number, timeoutMs) => waitFor(() => sessions[number - 1], timeoutMs),
    waitForSession: (number, timeoutMs) => waitFor(() => established()[number - 1], timeoutMs),
    logins: () => sessions.filter(({ state }) => state.loggedInAt !== null),
    async stop() {
      for (const session of sessions) session.reset();
      server.close();
      await once(server, 'close');
    },
  };
};

const portOf = (server: Server): number => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return address.port;
};
