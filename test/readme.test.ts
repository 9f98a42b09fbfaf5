/**
 * The README's table reference against the database: each table's columns, types and comments.
 * `UPDATE=1 npm test -- test/readme.test.ts` writes the reference anew, to be read in the diff.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { type TestDatabase, testDatabase } from './support/database.ts';

const README = new URL('../README.md', import.meta.url);
/** A table's heading, up to where its columns end. */
const REFERENCE =
  /^### ((?:xmpp|bytestream|openfire)_\w+|rowgram_(?:user|group)\w+)\n(?:\n(?![#`|]).+\n)?(?:\n(?:\|.*\n)+)?/gm;

const SELECT_COLUMNS = `
  select c.relname as "table", obj_description(c.oid) as about, a.attname as "column",
    format_type(a.atttypid, null) as type, col_description(c.oid, a.attnum) as comment
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where c.relnamespace = current_schema()::regnamespace and not c.relispartition
    and (c.relkind in ('r', 'p') and c.relname ~ '^(xmpp|bytestream)_|^rowgram_(user|group)' or c.relname = 'openfire_users')
  order by c.relname, a.attnum`;

type Column = { table: string; about: string; column: string; type: string; comment: string };

const shorten = (type: string): string => type.replace('timestamp with time zone', 'timestamptz');

const formatReference = (columns: Column[]): string =>
  [
    `### ${columns[0]?.table}`,
    '',
    `${columns[0]?.about}`,
    '',
    '| column | type | meaning |',
    '|---|---|---|',
    ...columns.map(
      ({ column, type, comment }) => `| \`${column}\` | ${shorten(type)} | ${comment} |`,
    ),
    '',
  ].join('\n');

const selectReferences = async (db: TestDatabase): Promise<Map<string, string>> => {
  const columns = await db.rows<Column>(SELECT_COLUMNS);
  const byTable = Map.groupBy(columns, ({ table }) => table);
  return new Map([...byTable].map(([table, own]) => [table, formatReference(own)]));
};

test('the README has every table with its columns, as the database describes them', async () => {
  await using db = await testDatabase();
  const references = await selectReferences(db);
  const text = await readFile(README, 'utf8');
  const updated = text.replace(REFERENCE, (found, table) => references.get(table) ?? found);
  if (process.env.UPDATE) await writeFile(README, updated);
  else assert.equal(text, updated);
  const headings = [...updated.matchAll(REFERENCE)].map(([, table]) => table);
  const missing = [...references.keys()].filter((table) => !headings.includes(table));
  assert.deepEqual(missing, []);
});
