/** Producers that insert by a statement on a connection each. */
import { connect, type DatabaseAddress } from '../../src/db/connect.ts';
import type { Producers } from './engine.ts';

/** @param text takes the key, as text, for its only parameter */
export const openClients = async (
  address: DatabaseAddress,
  count: number,
  text: string,
): Promise<Producers> => {
  const clients = await Promise.all(Array.from({ length: count }, () => connect(address, 'bench')));
  return {
    inserts: clients.map((client) => async (key: number) => {
      await client.query({ name: 'insert', text, values: [`${key}`] });
    }),
    async close() {
      await Promise.all(clients.map((client) => client.end()));
    },
  };
};
