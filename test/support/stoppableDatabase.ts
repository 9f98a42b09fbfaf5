/** A database on a server of its own, that can be stopped and started. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { connect } from '../../src/db/connect.ts';
import { startEmbedded } from '../../src/db/embedded.ts';
import { migrate } from '../../src/db/migrate.ts';
import type { TestDatabase } from './database.ts';

export type StoppableDatabase = TestDatabase & { stop(): Promise<void>; start(): Promise<void> };

const POLL_MS = 50;

export const stoppableDatabase = async (): Promise<StoppableDatabase> => {
  const dir = await mkdtemp(join(tmpdir(), 'rowgram-stoppable-'));
  let server = await startEmbedded({ dir });
  const address = { url: server.url, schema: 'public' };
  await migrate(address);
  let client = await connect(address, 'test');
  const rows = async <Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) =>
    (await client.query<Row>(text, values)).rows;
  return {
    address,
    get client() {
      return client;
    },
    rows,
    async until<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) {
      const giveUpAt = Date.now() + 20_000;
      for (;;) {
        const [row] = await rows<Row>(text, values);
        if (row) return row;
        if (Date.now() > giveUpAt) throw new Error(`not in time: ${text}`);
        await new Promise((done) => setTimeout(done, POLL_MS));
      }
    },
    async stop() {
      await client.end();
      await server.stop();
    },
    async start() {
      server = await startEmbedded({ dir });
      client = await connect({ url: server.url, schema: 'public' }, 'test');
    },
    async [Symbol.asyncDispose]() {
      await client.end();
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};
