/** Runs the tests: a database server for all of them, then every test file or those that are named. */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../src/db/connect.ts';
import { startEmbedded } from '../src/db/embedded.ts';
import { migrate } from '../src/db/migrate.ts';
import { findFreePort } from '../src/demo/freePort.ts';

const TEMPLATE = 'rowgram_test_template';

const say = (text: string) => process.stderr.write(`${text}\n`);

/** The same server, another database. */
const withDatabase = (url: string, name: string): string =>
  url.replace(/\/[^/?]*(\?|$)/, `/${name}$1`);

const createTemplate = async (url: string): Promise<void> => {
  const client = await connect({ url, schema: 'public' }, 'tests');
  await client.query(`drop database if exists ${TEMPLATE} with (force)`);
  await client.query(`create database ${TEMPLATE}`);
  await client.end();
  await migrate({ url: withDatabase(url, TEMPLATE), schema: 'public' });
};

const runTests = (url: string, files: string[]): Promise<number> => {
  const args = [
    '--test',
    '--test-timeout=240000',
    '--test-concurrency=3',
    '--test-force-exit',
    ...files,
  ];
  const env = { ...process.env, ROWGRAM_TEST_URL: withDatabase(url, TEMPLATE) };
  const child = spawn(process.execPath, args, { stdio: 'inherit', env });
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  return new Promise((done) => child.on('exit', (code) => done(code ?? 1)));
};

const main = async (files: string[]): Promise<number> => {
  const wanted = files.length > 0 ? files : globSync('test/**/*.test.ts').sort();
  const given = process.env.DATABASE_URL;
  if (given) {
    say('Testing on the server of DATABASE_URL, in databases of our own');
    await createTemplate(given);
    return runTests(given, wanted);
  }
  const dir = await mkdtemp(join(tmpdir(), 'rowgram-test-'));
  const server = await startEmbedded({
    dir,
    onProgress: say,
    // Servers under test reach it by TCP, on the loopback.
    settings: {
      max_connections: '400',
      listen_addresses: '127.0.0.1',
      port: `${await findFreePort('127.0.0.1')}`,
    },
  });
  say(`Testing on an embedded PostgreSQL in ${dir}`);
  try {
    await createTemplate(server.url);
    return await runTests(server.url, wanted);
  } finally {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
};

process.exitCode = await main(process.argv.slice(2));
