/** Runs a private ejabberd as our child: a second real server, for what only one of them does. */
import { readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { findProgram } from '../../src/demo/findProgram.ts';
import { findFreePort } from '../../src/demo/freePort.ts';
import { type GuardedChild, spawnGuarded } from '../../src/demo/guardedChild.ts';
import { ConfigError } from '../../src/errors.ts';
import { buildEjabberdServices } from './services.ts';

export type EjabberdOptions = {
  /** Holds the configuration, the logs and the database; removed on stop. */
  dir: string;
  domain?: string;
  port?: number;
  /** Passwords by name. */
  accounts: Record<string, string>;
  /** How passwords are stored. With `plain` it offers SCRAM in every hash, with `scram` in SHA-1. */
  passwords?: 'plain' | 'scram';
  /** Top-level options; they win over ours. */
  settings?: Record<string, unknown>;
  /** Options by module, for modules besides the usual ones or instead of their options. */
  modules?: Record<string, Record<string, unknown>>;
  /** PEM texts, for STARTTLS. */
  tls?: { cert: string; key: string } | null;
  /** Secrets by the domain of an external component (XEP-0114). */
  componentSecrets?: Record<string, string>;
};

export type PrivateEjabberd = {
  host: string;
  port: number;
  /** Where components connect; null without `componentSecrets`. */
  componentPort: number | null;
  domain: string;
  readonly pid: number;
  log(): string;
  addAccount(name: string, password: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  restart(): Promise<void>;
  stop(): Promise<void>;
};

type Plan = EjabberdOptions & {
  domain: string;
  port: number;
  /** Of HTTP: the commands, and the files of users. */
  httpPort: number;
  componentPort: number | null;
};
type Program = { erl: string; libraries: string };

const HOST = '127.0.0.1';
const START_MS = 20_000;
const STOP_MS = 5_000;
const MODULES = {
  mod_admin_extra: {},
  mod_caps: {},
  mod_carboncopy: {},
  mod_disco: {},
  mod_http_api: {},
  mod_last: {},
  mod_mam: { db_type: 'mnesia', default: 'always', assume_mam_usage: true },
  mod_offline: {},
  mod_ping: {},
  mod_roster: {},
  mod_stream_mgmt: { resume_timeout: 300, max_ack_queue: 5000, resend_on_timeout: 'if_offline' },
  mod_time: {},
  mod_version: {},
};

/** The script that starts the packaged server; we only read from it where the server is. */
export const findEjabberd = (): string | null =>
  findProgram('ejabberdctl', ['/usr/sbin', '/usr/local/sbin']);

/** @throws ConfigError when there is no ejabberd, or it does not start, with its own words */
export const startEjabberd = async (options: EjabberdOptions): Promise<PrivateEjabberd> => {
  const program = readProgram();
  const plan = await planServer(options);
  const accounts = { ...plan.accounts };
  await writeFiles(plan);
  let child = await launch(program, plan);
  await registerAll(plan, accounts);
  return {
    host: HOST,
    port: plan.port,
    componentPort: plan.componentPort,
    domain: plan.domain,
    get pid() {
      return child.pid;
    },
    log: () => child.log(),
    async addAccount(name, password) {
      accounts[name] = password;
      await register(plan, name, password);
    },
    kill: (signal) => child.kill(signal),
    async restart() {
      await child.stop(STOP_MS);
      child = await launch(program, plan);
      await registerAll(plan, accounts);
    },
    async stop() {
      await child.stop(STOP_MS);
      await rm(plan.dir, { recursive: true, force: true });
    },
  };
};

const readProgram = (): Program => {
  const script = findEjabberd();
  if (script === null) throw new ConfigError('ejabberd is not installed');
  const libraries = readFileSync(script, 'utf8').match(/^ERL_LIBS='?([^'\n]+)/m)?.[1];
  const erl = findProgram('erl', ['/usr/bin', '/usr/local/bin']);
  if (libraries && erl) return { libraries, erl };
  throw new ConfigError(`${script} does not tell where ejabberd is`);
};

const planServer = async (options: EjabberdOptions): Promise<Plan> => ({
  ...options,
  dir: resolve(options.dir),
  domain: options.domain ?? 'localhost',
  port: options.port ?? (await findFreePort(HOST)),
  httpPort: await findFreePort(HOST),
  componentPort: options.componentSecrets ? await findFreePort(HOST) : null,
});

const writeFiles = async (plan: Plan): Promise<void> => {
  await mkdir(plan.dir, { recursive: true, mode: 0o700 });
  // JSON is YAML.
  await writeFile(join(plan.dir, 'ejabberd.yml'), JSON.stringify(buildConfig(plan), null, 2));
  if (plan.tls) await writeFile(join(plan.dir, 'tls.pem'), `${plan.tls.cert}\n${plan.tls.key}`);
};

const buildConfig = (plan: Plan): Record<string, unknown> => ({
  hosts: [plan.domain],
  loglevel: 'info',
  listen: buildListeners(plan),
  auth_method: ['mnesia'],
  auth_password_format: plan.passwords ?? 'plain',
  disable_sasl_mechanisms: ['digest-md5', 'X-OAUTH2'],
  api_permissions: { tests: { who: { ip: '127.0.0.1/8' }, what: '*' } },
  registration_timeout: 'infinity',
  modules: {
    ...MODULES,
    ...buildEjabberdServices(plan.domain, HOST, plan.httpPort, join(plan.dir, 'files')),
    ...plan.modules,
  },
  ...(plan.tls ? { certfiles: [join(plan.dir, 'tls.pem')] } : {}),
  ...plan.settings,
});

const buildListeners = (plan: Plan): Record<string, unknown>[] => {
  const clients = { ip: HOST, port: plan.port, module: 'ejabberd_c2s', max_stanza_size: 262_144 };
  const http = { ip: HOST, port: plan.httpPort, module: 'ejabberd_http' };
  const components = {
    ip: HOST,
    port: plan.componentPort,
    module: 'ejabberd_service',
    // Else each connection gets the stanzas of all domains.
    global_routes: false,
  };
  const secrets = Object.entries(plan.componentSecrets ?? {});
  return [
    plan.tls ? { ...clients, starttls: true } : clients,
    { ...http, request_handlers: { '/api': 'mod_http_api', '/upload': 'mod_http_upload' } },
    ...(plan.componentPort === null
      ? []
      : [
          {
            ...components,
            hosts: Object.fromEntries(secrets.map(([domain, password]) => [domain, { password }])),
          },
        ]),
  ];
};

/** Without a node name there is no distribution: no cookie, no epmd, no port but ours. */
const launch = async (program: Program, plan: Plan): Promise<GuardedChild> => {
  const scheduling = ['+S', '2:2', '+sbwt', 'none', '+sbwtdcpu', 'none', '+sbwtdio', 'none'];
  const mnesia = ['-mnesia', 'dir', JSON.stringify(join(plan.dir, 'database'))];
  const command = [program.erl, ...scheduling, '-noinput', ...mnesia, '-s', 'ejabberd'];
  const child = await spawnGuarded(command, environmentOf(program, plan));
  for (const port of [plan.port, plan.httpPort, plan.componentPort]) {
    if (port !== null) await waitForPort(child, port);
  }
  return child;
};

const environmentOf = (program: Program, plan: Plan): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  HOME: plan.dir,
  LANG: 'C.UTF-8',
  ERL_LIBS: program.libraries,
  ERL_CRASH_DUMP_BYTES: '0',
  EJABBERD_CONFIG_PATH: join(plan.dir, 'ejabberd.yml'),
  EJABBERD_LOG_PATH: join(plan.dir, 'ejabberd.log'),
});

const waitForPort = async (child: GuardedChild, port: number): Promise<void> => {
  const line = new RegExp(
    `(Start accepting TCP connections|Failed to open socket) at 127\\.0\\.0\\.1:${port}\\b`,
  );
  const match = await child.waitForLog(line, START_MS);
  if (match?.[1]?.startsWith('Start')) return;
  const said = child.log().trim().split('\n').slice(-12).join('\n');
  await child.stop(0);
  throw new ConfigError(`ejabberd did not start. It said:\n${said}`);
};

/** Again after a restart, too: Mnesia keeps a change in memory for seconds, and a kill loses it. */
const registerAll = async (plan: Plan, accounts: Record<string, string>): Promise<void> => {
  for (const [name, password] of Object.entries(accounts)) await register(plan, name, password);
};

const register = async (plan: Plan, name: string, password: string): Promise<void> => {
  const response = await fetch(`http://${HOST}:${plan.httpPort}/api/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({ user: name, host: plan.domain, password }),
  });
  const answer = await response.text();
  const isThere = response.status === 409;
  if (!response.ok && !isThere) throw new Error(`ejabberd did not register ${name}: ${answer}`);
};
