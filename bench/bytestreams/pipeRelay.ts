/** What the relay is measured against: two connections in turn, joined the way Node does it by itself. */
import { createServer, type Socket } from 'node:net';

let waiting: Socket | null = null;

const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  if (!waiting) {
    waiting = socket;
    return;
  }
  waiting.pipe(socket).pipe(waiting);
  waiting = null;
});

server.listen(Number(process.argv[2]), '127.0.0.1', () => process.send?.('listening'));
process.on('disconnect', () => process.exit(0));
