/** The stand-in for psql. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { formatTable } from '../src/sql.ts';
import { type TestDatabase, testDatabase } from './support/database.ts';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));

const run = async ({ address }: TestDatabase, args: string[], input = '') => {
  const env = { ...process.env, DATABASE_URL: address.url, ROWGRAM_SCHEMA: address.schema };
  const child = spawn(process.execPath, [MAIN, 'sql', ...args], { env });
  child.stdin.end(input);
  const ended = new Promise((done) => child.on('close', done));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { stdout, stderr, code: await ended };
};

test('rows stand in columns as wide as they need to be', () => {
  const rows = [
    { id: 1, name: 'Romeo', at: new Date(0), more: { a: 1 }, nothing: null },
    { id: 22, name: 'Ju', at: new Date(0), more: [1], nothing: undefined },
  ];
  assert.equal(
    formatTable(rows),
    [
      'id  name   at                        more     nothing',
      '--  -----  ------------------------  -------  -------',
      '1   Romeo  1970-01-01T00:00:00.000Z  {"a":1}',
      '22  Ju     1970-01-01T00:00:00.000Z  [1]',
      '',
    ].join('\n'),
  );
  assert.equal(formatTable([]), '(no rows)\n');
});

test('a text neither breaks the table nor steers the terminal', () => {
  const [, , line] = formatTable([{ body: 'one\ntwo\r\n\tthree\u001b[2J', id: 1 }]).split('\n');
  assert.equal(line, 'one\\ntwo\\r\\n\\tthree\\u001b[2J  1');
});

test('a statement from the argument is run, with its command or its rows told', async () => {
  await using db = await testDatabase();
  const insert = "insert into xmpp_tx_queue (message_to) values ('a@b')";
  assert.deepEqual(await run(db, [insert]), { stdout: 'INSERT 1\n', stderr: '', code: 0 });
  const select = await run(db, ['select message_to,', 'state from xmpp_tx_queue; select 1 as n']);
  assert.equal(
    select.stdout,
    'message_to  state\n----------  ------\na@b         queued\nn\n-\n1\n',
  );
});

test('a statement that fails is told, and the exit code says so', async () => {
  await using db = await testDatabase();
  const failed = await run(db, ['select nothing']);
  assert.match(failed.stderr, /column "nothing" does not exist/);
  assert.notEqual(failed.code, 0);
});

test('statements are read from standard input, over lines, and one that fails stops none', async () => {
  await using db = await testDatabase();
  const input =
    'create table t (\n  n integer);\nselect x;\ninsert into t values (1), (2);\nselect n from t';
  const { stdout, code } = await run(db, [], input);
  assert.equal(stdout, 'CREATE\nerror: column "x" does not exist\nINSERT 2\nn\n-\n1\n2\n');
  assert.equal(code, 0);
});

test('a query without rows is told to have none', async () => {
  await using db = await testDatabase();
  const { stdout } = await run(db, ['select id from xmpp_accounts']);
  assert.equal(stdout, '(no rows)\n');
});
