/**
 * Reads accepted connections into buffers that are used again, which costs less than half of what Node's
 * own way of a new buffer for each read does. `net.Socket` documents `onread`, but not how an accepted
 * connection gets it: so it is tried at the start, and done the plain way where it does not work.
 */
import { once } from 'node:events';
import {
  type AddressInfo,
  connect,
  createServer,
  Socket,
  type SocketConstructorOpts,
} from 'node:net';

export type Reader = {
  /** Where the read after the next one goes; called after each read, so it must not be in use then. */
  nextBuffer(): Buffer;
  /** @returns false to read no more until `resume`. The bytes are the reader's own until it is called again. */
  onBytes(bytes: Buffer): boolean;
};

export type Reading = { socket: Socket; resume(): void };

/** @param accepted by a server with `pauseOnConnect` and `allowHalfOpen` */
export type OpenReading = (accepted: Socket, reader: Reader) => Reading;

export const openReusedReading: OpenReading = (accepted, reader) => {
  const { _handle: handle } = accepted as unknown as { _handle: unknown }; // undocumented, see above
  const options = {
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: () => reader.nextBuffer(),
      callback: (size: number, buffer: Uint8Array) =>
        reader.onBytes((buffer as Buffer).subarray(0, size)), // one that nextBuffer gave
    },
  } as SocketConstructorOpts; // `handle` is not in its type
  const socket = new Socket(options);
  const resume = () => {
    socket.resume();
    socket.read(0);
  };
  return { socket, resume };
};

export const openPlainReading: OpenReading = (socket, reader) => {
  socket.on('data', (bytes) => {
    if (!reader.onBytes(bytes as Buffer)) socket.pause(); // no encoding is set
  });
  socket.pause();
  return { socket, resume: () => void socket.resume() };
};

const TEST_BYTES = 300_000;
const TEST_MS = 2_000;

/** Sends some bytes to ourselves, stopping after each read; resolves to whether they come as they went. */
export const canReuse = async (open: OpenReading = openReusedReading): Promise<boolean> => {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  const sent = Buffer.from(Array.from({ length: TEST_BYTES }, (_, at) => at % 251));
  const got: Buffer[] = [];
  const done = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => done.resolve(false), TEST_MS);
  const sockets: Socket[] = [];
  server.on('connection', (accepted) => {
    try {
      const buffer = Buffer.alloc(16_384);
      const onBytes = (bytes: Buffer) => {
        got.push(Buffer.from(bytes));
        setImmediate(() => reading.resume());
        return false;
      };
      const reading = open(accepted, { nextBuffer: () => buffer, onBytes });
      sockets.push(reading.socket);
      reading.socket.on('end', () => done.resolve(Buffer.concat(got).equals(sent)));
      reading.socket.on('error', () => done.resolve(false));
      reading.resume();
    } catch {
      done.resolve(false);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1'); // of a TCP server
  client.on('error', () => done.resolve(false));
  client.end(sent);
  const isGood = await done.promise;
  clearTimeout(timer);
  for (const socket of [client, ...sockets]) socket.destroy();
  server.close();
  return isGood;
};
