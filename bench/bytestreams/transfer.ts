/** Sends bytes through a stream, and compares each that arrives. */
import type { Socket } from 'node:net';

/** No power of two, so that what is lost or doubled does not fit again. */
const PATTERN_BYTES = 1_048_583;
const PATTERN = Buffer.from(
  Array.from({ length: PATTERN_BYTES }, (_, at) => (at * 31 + (at >> 8)) & 255),
);
const TWICE = Buffer.concat([PATTERN, PATTERN]);

const send = (socket: Socket, sizeBytes: number): void => {
  let sent = 0;
  const go = () => {
    while (sent < sizeBytes) {
      const at = sent % PATTERN_BYTES;
      const chunk = PATTERN.subarray(at, Math.min(PATTERN_BYTES, at + sizeBytes - sent));
      sent += chunk.length;
      if (!socket.write(chunk)) return;
    }
    socket.off('drain', go);
    socket.end();
  };
  socket.on('drain', go);
  go();
};

/** @throws Error when a byte is wrong, or fewer arrive than were sent */
export const transfer = (from: Socket, to: Socket, sizeBytes: number): Promise<void> =>
  new Promise((done, fail) => {
    let got = 0;
    to.on('data', (bytes: Buffer) => {
      const at = got % PATTERN_BYTES;
      got += bytes.length;
      if (!bytes.equals(TWICE.subarray(at, at + bytes.length))) fail(new Error('a byte is wrong'));
    });
    to.on('end', () => {
      to.end();
      if (got === sizeBytes) done();
      else fail(new Error(`${got} of ${sizeBytes} bytes arrived`));
    });
    to.on('close', () => fail(new Error(`${got} of ${sizeBytes} bytes arrived`)));
    send(from, sizeBytes);
  });
