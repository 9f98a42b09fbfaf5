/** What a server needs of a test's database: its views, a login of its own, and its configuration. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { TestDatabase } from '../support/database.ts';

type Server = 'prosody' | 'ejabberd' | 'kamailio';

const read = (file: string): Promise<string> =>
  readFile(new URL(`../../servers/${file}`, import.meta.url), 'utf8');

export type ServerRole = {
  /** A snippet of servers/ with this database in place of the example's. */
  configure(file: string): Promise<string>;
  drop(): Promise<void>;
};

/** @param settings of the login, such as `rowgram.scram` */
export const createServerRole = async (
  db: TestDatabase,
  server: Server,
  settings: Record<string, string> = {},
): Promise<ServerRole> => {
  await db.client.query(await read(`${server}.sql`));
  // Apart from the role itself, which may be somebody's where the tests are given a server.
  const name = `rowgram_test_${randomBytes(6).toString('hex')}`;
  const password = randomBytes(12).toString('hex');
  await db.rows(`create role ${name} login password '${password}' in role ${server}`);
  for (const [key, value] of Object.entries({ search_path: server, ...settings })) {
    await db.rows(`alter role ${name} set ${key} = '${value}'`);
  }
  const [{ database, port } = {}] = await db.rows<{ database: string; port: string }>(
    "select current_database() as database, current_setting('port') as port",
  );
  return {
    configure: async (file) =>
      (await read(file))
        .replace(/(username(?: =|:) "?|postgres:\/\/)\w+/, `$1${name}`)
        .replace('secret', password)
        .replace(/\bapp\b/, `${database}`)
        .replace('5432', `${port}`),
    drop: async () => {
      await db.rows(`drop role ${name}`);
    },
  };
};

/** What a role sees of a column by a function that tells all that it is called with, were it let. */
export const peep = async (db: TestDatabase, view: string, column: string): Promise<string[]> => {
  await db.client.query(`create function pg_temp.peep(seen text) returns boolean
    language plpgsql cost 0.0000001 as $$ begin raise notice '%', seen; return true; end $$`);
  const seen = new Set<string>();
  const listen = ({ message = '' }) => seen.add(message);
  db.client.on('notice', listen);
  await db.rows(`select from ${view} where pg_temp.peep(${column}::text)`);
  db.client.off('notice', listen);
  await db.rows('drop function pg_temp.peep');
  return [...seen].sort();
};
