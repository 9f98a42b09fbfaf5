/** How this process reaches Postgres: plain connections, and the pool for what is not hot. */

import { createPgDriverFactory } from '@slonik/pg-driver';
import pg from 'pg';
import { createPool, type DatabasePool } from 'slonik';
import { createLimit, type Limit } from './limit.ts';

/** `url` as pg and slonik read it; `schema` holds all our tables. */
export type DatabaseAddress = { url: string; schema: string };

// Whole numbers beyond 2^53 do not occur in an identity column, and JSON has no bigint.
const INT8 = 20;
const types = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid, format),
} as pg.CustomTypesConfig; // pg's own type is an overload set that no plain object fits

/** The address with the schema in its options, as both pg and slonik understand it. */
export const urlWithSchema = ({ url, schema }: DatabaseAddress): string => {
  const [base = url, query = ''] = url.split('?', 2);
  const parameters = new URLSearchParams(query);
  const options = parameters.get('options') ?? '';
  parameters.set('options', `${options} -csearch_path="${schema}"`.trim());
  return `${base}?${parameters.toString().replaceAll('+', '%20')}`;
};

/**
 * Opens one connection that dies rather than hangs: a peer that is gone is noticed by both sides
 * within some ten seconds.
 *
 * @param queryTimeoutMs none if absent, where a query may rightly wait for a lock
 * @param pipeline lets queries be sent before the answer to the last; they still run one by one
 */
export const connect = async (
  address: DatabaseAddress,
  purpose: string,
  { queryTimeoutMs, pipeline }: { queryTimeoutMs?: number; pipeline?: true } = {},
): Promise<pg.Client> => {
  const client = new pg.Client({
    connectionString: urlWithSchema(address),
    application_name: `rowgram ${purpose}`,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    ...(queryTimeoutMs && { query_timeout: queryTimeoutMs }),
    ...(pipeline && { pipeline }),
    types,
  });
  // Whoever uses the connection learns of its end from the failing query and from 'end'.
  client.on('error', () => {});
  await client.connect();
  return client;
};

/**
 * Whether the database has refused what it was asked to do: a fault in what was asked or in the database
 * itself, such as a trigger of its users; not one of the connection, of load or of its other users.
 * Source: PostgreSQL, appendix A.
 */
export const isDatabaseFault = (error: unknown): error is pg.DatabaseError =>
  error instanceof pg.DatabaseError && !/^(08|25|28|3D|40|53|55|57|58)/.test(error.code ?? '');

const POOL_METHODS = [
  ...(['any', 'anyFirst', 'connect', 'exists', 'many', 'manyFirst', 'maybeOne'] as const),
  ...(['maybeOneFirst', 'one', 'oneFirst', 'query', 'transaction'] as const),
];

/**
 * Has queries wait for their turn here: those that wait for a connection of slonik's are forgotten, and
 * never end, when none of the connections that are being made comes about.
 */
const takeTurns = (pool: DatabasePool, limit: Limit): DatabasePool => {
  const methods = POOL_METHODS.map((name) => {
    // Each takes what it is given; the overloads of a union of them no call could satisfy.
    const method = pool[name] as (...given: unknown[]) => Promise<unknown>;
    return [name, (...given: unknown[]) => limit(() => method(...given))];
  });
  return { ...pool, ...Object.fromEntries(methods) };
};

/**
 * The pool for configuration, reports and commands. Never for session state: no lock, no LISTEN. What runs
 * in a transaction is asked of the transaction, never of the pool, whose turns it would wait for.
 */
export const createDatabasePool = async (
  address: DatabaseAddress,
  maxPoolSize = 4,
): Promise<DatabasePool> => {
  const pool = await createPool(urlWithSchema(address), {
    driverFactory: createPgDriverFactory(),
    maxPoolSize,
    idleTimeout: 60_000,
    // DISCARD ALL on each release costs a round trip, and the pool carries no session state.
    resetConnection: async () => {},
    typeParsers: [
      { name: 'int8', parse: Number },
      { name: 'timestamptz', parse: (text) => new Date(text) },
    ],
  });
  return takeTurns(pool, createLimit(maxPoolSize));
};
