/** The command line, and the only file that knows every part. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createAccountsGateway } from './accounts/gateway.ts';
import { type Config, type GatewayName, readConfig } from './config.ts';
import type { DatabaseAddress } from './db/connect.ts';
import { type EmbeddedPostgres, findEmbedded, startEmbedded } from './db/embedded.ts';
import { migrate } from './db/migrate.ts';
import { runDemo } from './demo/demo.ts';
import { ConfigError, errorText } from './errors.ts';
import { type GatewayParts, startGateways } from './gateway.ts';
import { createLog, type Log } from './log.ts';
import { runSql } from './sql.ts';
import { readStatus } from './status.ts';

const Exit = { ok: 0, failed: 1, usage: 64, unavailable: 69, configuration: 78 } as const;

const RESTART_MS = 3_000;

const HELP = `usage: rowgram <command>

  run                  run the daemon until SIGTERM or Ctrl-C
  migrate              bring the database to this version
  demo [--once]        show a row go out and come back; --once ends after it
  status [--json]      accounts, components, queues and daemons
  sql [statement]      run SQL on the database, from the argument or standard input
  bench queue [--json] measure
  chaos [--faults N]   kill and cut at random under load, then count

environment: DATABASE_URL (without it, an embedded PostgreSQL), ROWGRAM_SCHEMA, ROWGRAM_GATEWAYS,
ROWGRAM_DATA_DIR, ROWGRAM_ATTACHMENT_DIR, LOG_LEVEL
`;

const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string }; // our own file

const GATEWAY = {
  xmpp: (parts: GatewayParts, { attachmentDir }: Config) =>
    createAccountsGateway(parts, {}, { attachmentDir }),
} satisfies Record<GatewayName, unknown>;

const say = (text: string) => process.stderr.write(`${text}\n`);

const embeddedDir = ({ dataDir }: Config): string => `${dataDir}/postgres`;

type Database = { address: DatabaseAddress; embedded: EmbeddedPostgres | null };

/** The database to work on; starts the embedded one where none is named. */
const openDatabase = async (config: Config): Promise<Database> => {
  const { databaseUrl, schema } = config;
  if (databaseUrl) return { address: { url: databaseUrl, schema }, embedded: null };
  const embedded = await startEmbedded({ dir: embeddedDir(config), onProgress: say });
  return { address: { url: embedded.url, schema }, embedded };
};

/** The database of a daemon that may be running already; never starts one that would end with us. */
const joinDatabase = async (config: Config): Promise<DatabaseAddress> => {
  const { databaseUrl, schema, dataDir } = config;
  const url = databaseUrl ?? (await findEmbedded(embeddedDir(config)));
  if (url) return { url, schema };
  throw new ConfigError(
    `no database: DATABASE_URL is not set, and no embedded PostgreSQL runs on ${dataDir}`,
  );
};

/** Aborts at the first SIGTERM or SIGINT; the second one ends the process at once. */
const stopSignal = (): AbortSignal => {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(Exit.failed);
    controller.abort(new Error('stopped'));
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return controller.signal;
};

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((done) => {
    if (signal.aborted) done();
    signal.addEventListener('abort', () => done(), { once: true });
  });

/** Starts the embedded server again whenever it ends by itself, until `stopping`. */
const keepEmbedded = (first: EmbeddedPostgres, dir: string, log: Log, stopping: AbortSignal) => {
  let current = first;
  const watch = async (): Promise<void> => {
    await current.ended;
    while (!stopping.aborted) {
      log.error('the embedded PostgreSQL has ended; starting it again');
      try {
        current = await startEmbedded({ dir });
        return watch();
      } catch (err) {
        log.error({ err }, 'the embedded PostgreSQL does not start');
        await delay(RESTART_MS);
      }
    }
  };
  watch();
  return { stop: () => current.stop() };
};

const run = async (config: Config): Promise<number> => {
  const stopping = stopSignal();
  const log = createLog(config.logLevel);
  const { address, embedded } = await openDatabase(config);
  const kept = embedded && keepEmbedded(embedded, embeddedDir(config), log, stopping);
  if (embedded) await migrate(address, (text) => log.warn(text));
  log.info({ version, gateways: config.gateways, embedded: embedded !== null }, 'rowgram starts');
  const create = config.gateways.map(
    (name) => (parts: GatewayParts) => GATEWAY[name](parts, config),
  );
  try {
    const runner = await startGateways({ address, version, log, create }, stopping);
    await untilAborted(stopping);
    log.info('rowgram stops');
    await runner.stop();
  } catch (error) {
    if (!stopping.aborted) throw error;
  }
  await kept?.stop();
  log.info('rowgram has stopped');
  return Exit.ok;
};

const runMigrate = async (config: Config): Promise<number> => {
  const { address, embedded } = await openDatabase(config);
  const done = await migrate(address, say);
  say(done.length > 0 ? `migrated: ${done.join(', ')}` : 'nothing to migrate');
  await embedded?.stop();
  return Exit.ok;
};

const commands: Record<string, (config: Config, args: string[]) => Promise<number>> = {
  run: (config) => run(config),
  migrate: (config) => runMigrate(config),
  async demo(config, args) {
    const { values } = parseArgs({ args, options: { once: { type: 'boolean', default: false } } });
    const database = await openDatabase(config);
    return runDemo(
      { ...database, dataDir: config.dataDir, version, say, once: values.once },
      stopSignal(),
    );
  },
  async status(config, args) {
    const { values } = parseArgs({ args, options: { json: { type: 'boolean', default: false } } });
    process.stdout.write(
      await readStatus(await joinDatabase(config), values.json ? 'json' : 'text'),
    );
    return Exit.ok;
  },
  async sql(config, args) {
    await runSql(await joinDatabase(config), args);
    return Exit.ok;
  },
  async bench(config, args) {
    const { runBench } = await import('../bench/main.ts');
    return runBench(config, args);
  },
  async chaos(_config, args) {
    const { runChaosCommand } = await import('../test/chaos/main.ts');
    return runChaosCommand(args);
  },
};

const main = async ([name = '', ...args]: string[]): Promise<number> => {
  const command = commands[name];
  if (!command) {
    process.stderr.write(HELP);
    return name === '' || name === 'help' || name === '--help' ? Exit.ok : Exit.usage;
  }
  try {
    return await command(readConfig(process.env), args);
  } catch (error) {
    say(`rowgram ${name}: ${errorText(error)}`);
    if (error instanceof TypeError && 'code' in error) return Exit.usage;
    return error instanceof ConfigError ? Exit.configuration : Exit.unavailable;
  }
};

process.exit(await main(process.argv.slice(2)));
