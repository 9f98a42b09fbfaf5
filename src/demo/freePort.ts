/** A port of the loopback that nobody listens on. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Somebody else may take the port before the caller does, so the caller must notice that. */
export const findFreePort = async (host = '127.0.0.1'): Promise<number> => {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('the port has no number');
  return address.port;
};
