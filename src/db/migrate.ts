/** Brings a database to this version: roles, what happens once (migrations), what is replaced (sql). */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { ConfigError } from '../errors.ts';
import { connect, type DatabaseAddress } from './connect.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

const ADVICE = 'run: npm run migrate';

// Any constant will do, as long as no other program picks it for this database.
const MIGRATE_LOCK = 7_069_427;

/** Runs the files of sql/ that `isWanted`, in the order of their names, in one transaction. */
const replaceSql = async (client: pg.Client, isWanted: (file: string) => boolean) => {
  const files = (await readdir(join(root, 'sql'))).filter((file) => file.endsWith('.sql')).sort();
  await client.query('begin');
  for (const file of files.filter(isWanted)) {
    await client.query(await readFile(join(root, 'sql', file), 'utf8'));
  }
  await client.query('commit');
};

const runMigrations = (client: pg.Client, schema: string) =>
  runner({
    dbClient: client,
    dir: join(root, 'migrations'),
    direction: 'up',
    migrationsSchema: schema,
    migrationsTable: 'rowgram_migrations',
    singleTransaction: true,
    noLock: true,
    log: () => {},
  });

/**
 * Runs all that is missing; several at once wait for each other.
 *
 * @returns the names of the migrations that were new to this database
 */
export const migrate = async (
  address: DatabaseAddress,
  onWarning: (text: string) => void = () => {},
): Promise<string[]> => {
  const client = await connect(address, 'migrate');
  client.on('notice', ({ severity, message }) => {
    if (severity === 'WARNING' && message) onWarning(message);
  });
  try {
    await client.query('select pg_advisory_lock($1)', [MIGRATE_LOCK]);
    const path = client.escapeIdentifier(address.schema);
    await client.query(`create schema if not exists ${path}`);
    // With pg_temp named last, nobody's temporary table can stand in for ours in a definer function.
    await client.query(`set search_path to ${path}, pg_temp`);
    await replaceSql(client, (file) => file.startsWith('00_'));
    const done = await runMigrations(client, address.schema);
    await replaceSql(client, (file) => !file.startsWith('00_'));
    return done.map(({ name }) => name);
  } finally {
    await client.end();
  }
};

/** @throws ConfigError when the database lacks a migration of this version */
export const requireMigrated = async (address: DatabaseAddress): Promise<void> => {
  const client = await connect(address, 'migrate');
  try {
    const { rows } = await client.query<{ name: string }>(`select name from rowgram_migrations`);
    const done = new Set(rows.map(({ name }) => name));
    const files = await readdir(join(root, 'migrations'));
    const missing = files
      .map((file) => file.replace(/\.sql$/, ''))
      .filter((name) => !done.has(name));
    if (missing.length > 0)
      throw new ConfigError(`the database lacks ${missing.join(', ')}; ${ADVICE}`);
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    throw new ConfigError(`the database has no tables of ours (${error.message}); ${ADVICE}`);
  } finally {
    await client.end();
  }
};
