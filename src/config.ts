/** What must be known before there is a database. All else is rows, and changes live. */
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { ConfigError } from './errors.ts';

export const GATEWAYS = ['xmpp', 'bytestreams'] as const;
export type GatewayName = (typeof GATEWAYS)[number];

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];

export type Config = {
  /** Where Postgres is; null for the embedded one. */
  databaseUrl: string | null;
  schema: string;
  gateways: GatewayName[];
  logLevel: string;
  dataDir: string;
  /** What rows may send files from, by attachment_path; null for no files. */
  attachmentDir: string | null;
};

const defaultDataDir = (environment: NodeJS.ProcessEnv): string =>
  process.getuid?.() === 0
    ? '/var/lib/rowgram'
    : join(environment.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'rowgram');

const readGateways = (text: string): GatewayName[] => {
  const names = text.split(',').map((name) => name.trim());
  return [...new Set(names)].map((name) => {
    const known = GATEWAYS.find((gateway) => gateway === name);
    if (known) return known;
    throw new ConfigError(`ROWGRAM_GATEWAYS names '${name}'; there is ${GATEWAYS.join(', ')}`);
  });
};

/** @throws ConfigError naming the variable that is wrong */
export const readConfig = (environment: NodeJS.ProcessEnv): Config => {
  const logLevel = environment.LOG_LEVEL || 'info';
  if (!LEVELS.includes(logLevel)) {
    throw new ConfigError(`LOG_LEVEL is '${logLevel}'; it can be ${LEVELS.join(', ')}`);
  }
  const databaseUrl = environment.DATABASE_URL || null;
  if (databaseUrl !== null && !/^postgres(ql)?:\/\//.test(databaseUrl)) {
    throw new ConfigError('DATABASE_URL does not begin with postgres://');
  }
  const schema = environment.ROWGRAM_SCHEMA || 'public';
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema)) {
    throw new ConfigError(`ROWGRAM_SCHEMA is '${schema}'; it takes a-z, 0-9 and _`);
  }
  const attachmentDir = environment.ROWGRAM_ATTACHMENT_DIR || null;
  if (attachmentDir !== null && !isAbsolute(attachmentDir)) {
    throw new ConfigError('ROWGRAM_ATTACHMENT_DIR does not begin with /');
  }
  return {
    databaseUrl,
    schema,
    gateways: readGateways(environment.ROWGRAM_GATEWAYS || GATEWAYS.join(',')),
    logLevel,
    dataDir: environment.ROWGRAM_DATA_DIR || defaultDataDir(environment),
    attachmentDir,
  };
};
