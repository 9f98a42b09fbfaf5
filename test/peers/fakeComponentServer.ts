/**
 * The server's side of component streams (XEP-0114), which does what a test tells it. It shares no code
 * with the product.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createStanzaLog, type StanzaLog } from './stanzaLog.ts';
import { createXmlReader, escapeXml, type Stanza } from './xmlReader.ts';

/** Read anew at every step. */
export type ComponentScript = {
  secret: string;
  /** The stream error that meets a handshake, right or wrong; null for none. */
  refusal: string | null;
  /** Whether it neither answers nor passes anything on. */
  isSilent: boolean;
};

export type FakeComponentStream = Pick<StanzaLog, 'stanzas' | 'next'> & {
  /** Null until the header has come. */
  readonly domain: string | null;
  /** Whether the handshake was taken. */
  readonly isEstablished: boolean;
  readonly isOpen: boolean;
  write(data: string | Uint8Array): void;
  /** Writes each byte in a packet of its own. */
  writeBytewise(text: string): Promise<void>;
  streamError(condition: string, text?: string): void;
  reset(): void;
  closed: Promise<string>;
};

export type FakeComponentServer = AsyncDisposable & {
  host: string;
  port: number;
  /** All since the start, in order. */
  streams: FakeComponentStream[];
  change(script: Partial<ComponentScript>): void;
  /** Settles with the stream of that number, counted from 1, of those whose handshake was taken. */
  waitForStream(number: number, timeoutMs?: number): Promise<FakeComponentStream>;
  stop(): Promise<void>;
};

const STREAM = 'http://etherx.jabber.org/streams';
const STREAM_ERRORS = 'urn:ietf:params:xml:ns:xmpp-streams';

export const startFakeComponentServer = async (
  options: Partial<ComponentScript> = {},
): Promise<FakeComponentServer> => {
  const script: ComponentScript = { secret: 'secret', refusal: null, isSilent: false, ...options };
  const streams: FakeComponentStream[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    const id = `stream<${streams.length}>`;
    streams.push(createStream(socket, id, script, () => server.emit('progress')));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // of TCP, so no string
  const stop = async () => {
    for (const stream of streams) stream.reset();
    server.close();
    await once(server, 'close');
  };
  return {
    host: '127.0.0.1',
    port,
    streams,
    change: (change) => {
      Object.assign(script, change);
    },
    async waitForStream(number, timeoutMs = 5_000) {
      const signal = AbortSignal.timeout(timeoutMs);
      for (;;) {
        const stream = streams.filter(({ isEstablished }) => isEstablished)[number - 1];
        if (stream) return stream;
        await once(server, 'progress', { signal });
      }
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
};

const createStream = (
  socket: Socket,
  id: string,
  script: ComponentScript,
  onProgress: () => void,
): FakeComponentStream => {
  const log = createStanzaLog();
  let domain: string | null = null;
  let isEstablished = false;
  const write = (data: string | Uint8Array) => {
    socket.write(data);
  };
  const streamError = (condition: string, text = '') => {
    const said = text && `<text xmlns='${STREAM_ERRORS}'>${escapeXml(text)}</text>`;
    socket.end(
      `<stream:error><${condition} xmlns='${STREAM_ERRORS}'/>${said}</stream:error></stream:stream>`,
    );
  };
  const shake = (stanza: Stanza) => {
    const expected = createHash('sha1').update(`${id}${script.secret}`).digest('hex');
    const isRight = stanza.element.name === 'handshake' && stanza.element.text === expected;
    const refusal = script.refusal ?? (isRight ? null : 'not-authorized');
    if (refusal) return streamError(refusal);
    isEstablished = true;
    write('<handshake/>');
    onProgress();
  };
  const reader = createXmlReader({
    onHeader({ attrs }) {
      domain = attrs.to ?? '';
      if (script.isSilent) return;
      write(
        `<?xml version='1.0'?><stream:stream from='${escapeXml(domain)}' id='${escapeXml(id)}' ` +
          `xmlns='jabber:component:accept' xmlns:stream='${STREAM}'>`,
      );
    },
    onStanza(stanza) {
      log.add(stanza);
      if (script.isSilent) return;
      if (!isEstablished) shake(stanza);
      else if (stanza.element.attrs.to === domain) write(stanza.xml);
    },
    onFooter: () => socket.end('</stream:stream>'),
  });
  socket.on('data', (bytes) => {
    try {
      reader.read(bytes);
    } catch (error) {
      socket.destroy(new Error('the component broke the stream', { cause: error }));
    }
  });
  let cause = 'the connection has ended';
  socket.on('error', (error) => {
    cause = `${error.message} ${error.cause ?? ''}`.trim();
  });
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => {
      log.end(cause);
      resolve(cause);
    });
  });
  return {
    get domain() {
      return domain;
    },
    get isEstablished() {
      return isEstablished;
    },
    get isOpen() {
      return !socket.destroyed;
    },
    stanzas: log.stanzas,
    next: log.next,
    closed,
    write,
    async writeBytewise(text) {
      for (const byte of Buffer.from(text)) {
        await new Promise<void>((resolve) => {
          socket.write(Uint8Array.of(byte), () => setImmediate(resolve));
        });
      }
    },
    streamError,
    reset: () => {
      socket.resetAndDestroy();
    },
  };
};
