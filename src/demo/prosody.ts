/** Runs a private Prosody as our child: a real XMPP server for the demo, on the loopback alone. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ConfigError } from '../errors.ts';
import { findProgram } from './findProgram.ts';
import { findFreePort } from './freePort.ts';
import { type GuardedChild, spawnGuarded } from './guardedChild.ts';
import {
  formatProsodyAccount,
  formatProsodyConfig,
  type ProsodyConfig,
  prosodyAccountPath,
} from './prosodyFiles.ts';

export type ProsodyOptions = {
  /** Holds the configuration and the data; made if missing, kept on stop. */
  dir: string;
  domain?: string;
  /** A free one if absent. */
  port?: number;
  /** Passwords by name, or by `name@domain` for a further host. */
  accounts: Record<string, string>;
  /** Modules besides the usual ones. */
  modules?: string[];
  /** Configuration text, global; it wins over ours and may end in hosts of its own. */
  settings?: string;
  /** PEM texts, for STARTTLS. */
  tls?: { cert: string; key: string } | null;
  /** Secrets by the domain of an external component (XEP-0114). */
  componentSecrets?: Record<string, string>;
};

export type PrivateProsody = {
  host: string;
  port: number;
  /** Where components connect; null without `componentSecrets`. */
  componentPort: number | null;
  domain: string;
  /** Of Prosody itself; changes with every restart. */
  readonly pid: number;
  /** The last 64 kB that the running server printed. */
  log(): string;
  /** Works at any time: Prosody reads an account when it is asked for. */
  addAccount(name: string, password: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** Starts again on the same port and data, whether or not the server still runs. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

const HOST = '127.0.0.1';
const START_MS = 10_000;
const STOP_MS = 3_000;
const FOLDERS = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin'];

export const findProsody = (): string | null => findProgram('prosody', FOLDERS);

/** @throws ConfigError when there is no Prosody, or it does not start, with its own words */
export const startProsody = async (options: ProsodyOptions): Promise<PrivateProsody> => {
  const program = findProsody();
  if (program === null) throw new ConfigError('Prosody is not installed');
  const config = await planConfig(options);
  await writeFiles(config, options);
  const addAccount = (name: string, password: string) => writeAccount(config, name, password);
  for (const [name, password] of Object.entries(options.accounts)) await addAccount(name, password);
  let child = await launch(program, config);
  return {
    host: HOST,
    port: config.port,
    componentPort: config.components?.port ?? null,
    domain: config.domain,
    get pid() {
      return child.pid;
    },
    log: () => child.log(),
    addAccount,
    kill: (signal) => child.kill(signal),
    async restart() {
      await child.stop(STOP_MS);
      child = await launch(program, config);
    },
    stop: () => child.stop(STOP_MS),
  };
};

const planConfig = async (options: ProsodyOptions): Promise<ProsodyConfig> => {
  const dir = resolve(options.dir);
  const secrets = options.componentSecrets;
  return {
    dir,
    dataDir: join(dir, 'data'),
    host: HOST,
    port: options.port ?? (await findFreePort(HOST)),
    domain: options.domain ?? 'localhost',
    isRoot: process.getuid?.() === 0,
    modules: options.modules ?? [],
    settings: options.settings ?? '',
    tls: options.tls ? { certificate: join(dir, 'cert.pem'), key: join(dir, 'key.pem') } : null,
    components: secrets ? { port: await findFreePort(HOST), secrets } : null,
  };
};

const configOf = (config: ProsodyConfig): string => join(config.dir, 'prosody.cfg.lua');

const writeFiles = async (config: ProsodyConfig, options: ProsodyOptions): Promise<void> => {
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  await chmod(config.dir, 0o700);
  // Component secrets and the key are in these.
  const mode = 0o600;
  await writeFile(configOf(config), formatProsodyConfig(config), { mode });
  if (!config.tls || !options.tls) return;
  await writeFile(config.tls.certificate, options.tls.cert, { mode });
  await writeFile(config.tls.key, options.tls.key, { mode });
};

const writeAccount = async (
  config: ProsodyConfig,
  account: string,
  password: string,
): Promise<void> => {
  const [name = '', domain = config.domain] = account.split('@');
  const path = join(config.dataDir, ...prosodyAccountPath(name, domain));
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(path, await formatProsodyAccount(password), { mode: 0o600 });
};

const launch = async (program: string, config: ProsodyConfig): Promise<GuardedChild> => {
  const child = await spawnGuarded([program, '-F', '--config', configOf(config)], process.env);
  const services = config.components ? ['c2s', 'component'] : ['c2s'];
  for (const service of services) await waitForService(child, service);
  return child;
};

/** Its own word is asked for: a connection may reach somebody else who was faster on the port. */
const waitForService = async (child: GuardedChild, service: string): Promise<void> => {
  const line = new RegExp(`Activated service '${service}' on (.*)\\n`);
  const match = await child.waitForLog(line, START_MS);
  if (match?.[1]?.startsWith('[')) return;
  const said = child.log().trim().split('\n').slice(-8).join('\n');
  await child.stop(0);
  throw new ConfigError(`Prosody did not start. It said:\n${said}`);
};
