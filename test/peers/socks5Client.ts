/** A SOCKS5 client as the ends of a bytestream have one, and ones that do it otherwise. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export const encodeConnect = (hash: string): Buffer =>
  Buffer.concat([Buffer.of(5, 1, 0, 3, hash.length), Buffer.from(hash), Buffer.alloc(2)]);

export const GREETING = Buffer.of(5, 1, 0);

/** Connects and does not read; resets are no errors. */
export const openSocket = async (port: number, host = '127.0.0.1'): Promise<Socket> => {
  const socket = connect({ port, host, allowHalfOpen: true });
  socket.on('error', () => {});
  // One that is reset at once is returned closed.
  await once(socket, 'connect').catch(() => {});
  return socket;
};

/** The next bytes, exactly so many; fewer if the other end closes before. */
export const readBytes = async (socket: Socket, size: number): Promise<Buffer> => {
  const parts: Buffer[] = [];
  let missing = size;
  while (missing > 0) {
    // read(n) gives all that is left at the end.
    const part = socket.read(
      Math.min(missing, Math.max(1, socket.readableLength)),
    ) as Buffer | null;
    if (part) {
      parts.push(part);
      missing -= part.length;
    } else if (socket.readableEnded || socket.destroyed) break;
    else
      await new Promise<void>((done) => {
        const go = () => {
          for (const event of ['readable', 'end', 'close']) socket.off(event, go);
          done();
        };
        for (const event of ['readable', 'end', 'close']) socket.on(event, go);
      });
  }
  return Buffer.concat(parts);
};

/** All that comes until the other end closes or resets. */
export const readAll = (socket: Socket): Promise<Buffer> =>
  readBytes(socket, Number.MAX_SAFE_INTEGER);

/** Settles once the other end has closed or reset the connection. */
export const untilClosed = async (socket: Socket): Promise<void> => {
  await readAll(socket);
  socket.destroy();
};

/** Greets, asks for the hash, and returns the reply code with the open socket. */
export const askStream = async (
  port: number,
  hash: string,
  host = '127.0.0.1',
): Promise<{ socket: Socket; code: number | undefined; reply: Buffer }> => {
  const socket = await openSocket(port, host);
  socket.write(GREETING);
  const method = await readBytes(socket, 2);
  if (method[1] !== 0) return { socket, code: undefined, reply: method };
  socket.write(encodeConnect(hash));
  const reply = await readBytes(socket, 7 + hash.length);
  return { socket, code: reply[1], reply };
};
