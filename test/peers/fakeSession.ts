/** One connection to the fake server: what the test can do to it, and what it knows of it. */
import type { Socket } from 'node:net';
import { answerStanza, openStream } from './fakeAnswers.ts';
import type { Script } from './fakeServer.ts';
import type { ScramServer } from './scramServer.ts';
import { createStanzaLog, type StanzaLog } from './stanzaLog.ts';
import { createXmlReader } from './xmlReader.ts';

/** A stream-management session, which outlives its connection (XEP-0198). */
export type Resumable = {
  id: string;
  jid: string;
  /** Stanzas that the client has sent. */
  receivedCount: number;
  /** What the client has acknowledged. */
  ackedCount: number;
  /** What was sent with `send` and is not acknowledged. */
  unacked: string[];
};

export type SessionState = {
  connectedAt: Date;
  loggedInAt: Date | null;
  /** Bound or resumed. */
  establishedAt: Date | null;
  isResumed: boolean;
  name: string | null;
  jid: string | null;
  mechanism: string | null;
  resumable: Resumable | null;
  /** We have sent `</stream:stream>`. */
  isStreamClosed: boolean;
};

export type FakeSession = Pick<StanzaLog, 'stanzas' | 'next' | 'onStanza'> & {
  state: SessionState;
  /** Sends a stanza that counts for stream management, and again when the session is resumed. */
  send(xml: string): void;
  /** Writes anything, uncounted. */
  write(data: string | Uint8Array): void;
  /** Writes the bytes in pieces of that size, each in a packet of its own. */
  writePieces(bytes: Uint8Array, sizeBytes: number): Promise<void>;
  /** A stream error and the end of the stream; the connection stays open. */
  streamError(condition: string): void;
  /** `</stream:stream>`; the connection stays open. */
  closeStream(): void;
  /** Ends our side of the connection. */
  end(): void;
  reset(): void;
  /** Settles when the connection has ended, with what the client broke, if it did. */
  closed: Promise<string>;
};

export type SessionParts = {
  socket: Socket;
  domain: string;
  script: Script;
  resumables: Map<string, Resumable>;
  /** Called when the state has changed. */
  onProgress(): void;
};

/** What the answers work on. */
export type Context = SessionParts & {
  session: FakeSession;
  scram: ScramServer | null;
  restartStream(): void;
};

export const createFakeSession = (parts: SessionParts): FakeSession => {
  const log = createStanzaLog();
  const session = createControls(parts, log);
  const newReader = () =>
    createXmlReader({
      onHeader: () => openStream(context),
      onStanza(stanza) {
        log.add(stanza);
        if (parts.script.onStanza(session, stanza) === 'unhandled') answerStanza(context, stanza);
      },
      onFooter: () => leave(parts, session.state),
    });
  let reader = newReader();
  const restartStream = () => {
    reader = newReader();
  };
  const context: Context = { ...parts, session, scram: null, restartStream };
  parts.socket.on('data', (bytes) => {
    try {
      reader.read(bytes);
    } catch (error) {
      parts.socket.destroy(new Error('the client broke the stream', { cause: error }));
    }
  });
  return session;
};

const createControls = (parts: SessionParts, log: StanzaLog): FakeSession => {
  const { socket } = parts;
  const state = createState();
  const write = (data: string | Uint8Array) => {
    socket.write(data);
  };
  return {
    state,
    stanzas: log.stanzas,
    next: log.next,
    onStanza: log.onStanza,
    closed: watchEnd(parts, state, log),
    write,
    send(xml) {
      state.resumable?.unacked.push(xml);
      write(xml);
    },
    async writePieces(bytes, sizeBytes) {
      for (let at = 0; at < bytes.length; at += sizeBytes) {
        await writeAlone(socket, bytes.subarray(at, at + sizeBytes));
      }
    },
    streamError(condition) {
      const ns = 'urn:ietf:params:xml:ns:xmpp-streams';
      write(`<stream:error><${condition} xmlns='${ns}'/></stream:error></stream:stream>`);
      state.isStreamClosed = true;
    },
    closeStream() {
      write('</stream:stream>');
      state.isStreamClosed = true;
    },
    end: () => {
      socket.end();
    },
    reset: () => {
      socket.resetAndDestroy();
    },
  };
};

const createState = (): SessionState => ({
  connectedAt: new Date(),
  loggedInAt: null,
  establishedAt: null,
  isResumed: false,
  name: null,
  jid: null,
  mechanism: null,
  resumable: null,
  isStreamClosed: false,
});

const watchEnd = (parts: SessionParts, state: SessionState, log: StanzaLog): Promise<string> => {
  const { socket } = parts;
  let cause = 'the connection has ended';
  socket.on('error', (error) => {
    cause = `${error.message} ${error.cause ?? ''}`.trim();
  });
  // A client that ends its side without a word has gone, and so do we.
  socket.on('end', () => leave(parts, state));
  return new Promise((resolve) => {
    socket.on('close', () => {
      log.end(cause);
      resolve(cause);
    });
  });
};

const leave = ({ socket, script }: SessionParts, state: SessionState): void => {
  if (socket.writableEnded || script.silentAt === 'footer') return;
  socket.end(state.isStreamClosed ? '' : '</stream:stream>');
  state.isStreamClosed = true;
};

/** Waits until the kernel has the piece and the other side, if in this process, may have read it. */
const writeAlone = (socket: Socket, piece: Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    socket.write(piece, () => setImmediate(() => setImmediate(resolve)));
  });
