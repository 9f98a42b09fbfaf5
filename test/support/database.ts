/** A database of the test's own: a copy of the migrated template, dropped at the end. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { connect, type DatabaseAddress } from '../../src/db/connect.ts';

export type TestDatabase = {
  address: DatabaseAddress;
  /** A connection as the owner. */
  client: pg.Client;
  /** All rows of a query. */
  rows<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** The first row of a query, once it has one; fails after `timeoutMs`. */
  until<Row extends pg.QueryResultRow>(
    text: string,
    values?: unknown[],
    timeoutMs?: number,
  ): Promise<Row>;
  [Symbol.asyncDispose](): Promise<void>;
};

const POLL_MS = 10;

const readTemplate = (): { url: string; template: string } => {
  const url = process.env.ROWGRAM_TEST_URL;
  if (!url)
    throw new Error('run the tests with npm test, or npm test -- <file>: they need its database');
  return { url, template: /\/([^/?]*)(\?|$)/.exec(url)?.[1] ?? '' };
};

const withServer = async <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => {
  const { url, template } = readTemplate();
  const client = await connect(
    { url: url.replace(`/${template}`, '/postgres'), schema: 'public' },
    'tests',
  );
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};

export const testDatabase = async (): Promise<TestDatabase> => {
  const { url, template } = readTemplate();
  const name = `rowgram_test_${randomBytes(6).toString('hex')}`;
  await withServer((server) => server.query(`create database ${name} template ${template}`));
  const address = { url: url.replace(`/${template}`, `/${name}`), schema: 'public' };
  const client = await connect(address, 'test');
  const rows = async <Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) =>
    (await client.query<Row>(text, values)).rows;
  return {
    address,
    client,
    rows,
    async until<Row extends pg.QueryResultRow>(
      text: string,
      values: unknown[] = [],
      timeoutMs = 15_000,
    ) {
      const giveUpAt = Date.now() + timeoutMs;
      for (;;) {
        const [row] = await rows<Row>(text, values);
        if (row) return row;
        if (Date.now() > giveUpAt) throw new Error(`not within ${timeoutMs} ms: ${text}`);
        await new Promise((done) => setTimeout(done, POLL_MS));
      }
    },
    async [Symbol.asyncDispose]() {
      await client.end();
      await withServer((server) => server.query(`drop database if exists ${name} with (force)`));
    },
  };
};

/** Makes the database refuse connections and ends those that it has, while `work` runs. */
export const withoutDatabase = async (
  { address }: { address: DatabaseAddress },
  work: () => Promise<void>,
): Promise<void> => {
  const [, name = ''] = /\/([^/?]*)(\?|$)/.exec(address.url) ?? [];
  const url = address.url.replace(`/${name}`, '/postgres');
  const server = await connect({ url, schema: 'public' }, 'tests');
  try {
    await server.query(`alter database ${name} allow_connections false`);
    await server.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = $1 and application_name <> 'rowgram test'`,
      [name],
    );
    await work();
  } finally {
    await server.query(`alter database ${name} allow_connections true`);
    await server.end();
  }
};
