/** A daemon for a test: in this process for dialogues, or one of its own to be killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createAccountsGateway } from '../../src/accounts/gateway.ts';
import type { DatabaseAddress } from '../../src/db/connect.ts';
import { startGateways } from '../../src/gateway.ts';
import { createLog, type Log } from '../../src/log.ts';

export type TestDaemon = { stop(): Promise<void>; [Symbol.asyncDispose](): Promise<void> };

/** How long silences are borne, shortened so that tests need not wait. */
export const QUICK = {
  loginMs: 5_000,
  keepAliveMs: 500,
  patienceMs: 1_500,
  roomSilenceMs: 1_000,
  roomRetryMs: 200,
};

/** @param log silent unless LOG_LEVEL says otherwise */
export const startDaemon = async (
  address: DatabaseAddress,
  timing: Partial<typeof QUICK> = QUICK,
  log: Log = createLog(process.env.LOG_LEVEL || 'silent', 2),
): Promise<TestDaemon> => {
  const create = [
    (parts: Parameters<typeof createAccountsGateway>[0]) =>
      createAccountsGateway(parts, timing, {
        attachmentDir: process.env.ROWGRAM_ATTACHMENT_DIR || null,
      }),
  ];
  const signal = new AbortController().signal;
  const runner = await startGateways({ address, version: 'test', log, create }, signal);
  let stopped: Promise<void> | null = null;
  const stop = () => {
    stopped ??= runner.stop();
    return stopped;
  };
  return { stop, [Symbol.asyncDispose]: stop };
};

export type DaemonProcess = {
  child: ChildProcess;
  /** All that it has logged. */
  output(): string;
  kill(signal: NodeJS.Signals): void;
  /** Settles with its exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals | null>;
  [Symbol.asyncDispose](): Promise<void>;
};

const MAIN = new URL('../../src/main.ts', import.meta.url);

/** Starts `rowgram run` as a process of its own, or another program that takes its place. */
export const spawnDaemon = (
  address: DatabaseAddress,
  environment: Record<string, string> = {},
  program: URL = MAIN,
): DaemonProcess => {
  const env = {
    ...process.env,
    DATABASE_URL: address.url,
    ROWGRAM_SCHEMA: address.schema,
    LOG_LEVEL: 'info',
    ...environment,
  };
  const child = spawn(process.execPath, [fileURLToPath(program), 'run'], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const collect = (bytes: Buffer) => {
    output += bytes.toString();
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const ended = once(child, 'exit').then(([code, signal]) => signal ?? code);
  return {
    child,
    output: () => output,
    kill: (signal) => void child.kill(signal),
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGCONT');
      child.kill('SIGKILL');
      await ended;
    },
  };
};
