/** The daemon's one LISTEN connection. A notification is a hint: whoever hears it reads the tables. */
import pgListen from 'pg-listen';
import type { Log } from '../log.ts';
import { type DatabaseAddress, urlWithSchema } from './connect.ts';

export type Listener = {
  /** Calls `onHint` with the payload of each notification on the channel, which anyone may forge. */
  on(channel: string, onHint: (payload: string) => void): Promise<void>;
  close(): Promise<void>;
};

/** @param onGap called after each loss of the connection: what was said meanwhile is gone */
export const createListener = async (
  address: DatabaseAddress,
  log: Log,
  onGap: () => void,
): Promise<Listener> => {
  const subscriber = pgListen.default<Record<string, string>>(
    {
      connectionString: urlWithSchema(address),
      application_name: 'rowgram listen',
      query_timeout: 5_000,
      keepAlive: true,
    },
    // Payloads are bare words, not JSON; 0 means to try for ever.
    { parse: (text) => text, retryTimeout: 0, retryInterval: 500, paranoidChecking: 10_000 },
  );
  const handlers = new Map<string, (payload: string) => void>();
  subscriber.events.on('notification', ({ channel, payload }) => {
    handlers.get(channel)?.(typeof payload === 'string' ? payload : '');
  });
  subscriber.events.on('connected', onGap);
  subscriber.events.on('error', (err) => log.debug({ err }, 'listen connection lost'));
  await subscriber.connect();
  return {
    async on(channel, onHint) {
      handlers.set(channel, onHint);
      await subscriber.listenTo(channel);
    },
    close: () => subscriber.close(),
  };
};
