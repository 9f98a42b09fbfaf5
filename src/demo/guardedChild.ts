/** Runs a server as a child that cannot outlive us: it ends even if we are killed with SIGKILL. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';

export type GuardedChild = {
  /** Of the server itself, not of the shell that guards it. */
  pid: number;
  /** Settles when the server has ended, whatever the cause. */
  ended: Promise<void>;
  /** The last 64 kB of what the server printed, and in the end its exit code. */
  log(): string;
  /** Settles with the first match in the log; null if the server ends or the time is up before. */
  waitForLog(pattern: RegExp, timeoutMs: number): Promise<RegExpMatchArray | null>;
  kill(signal: NodeJS.Signals): void;
  /** Asks the server to end, and insists after `graceMs`. */
  stop(graceMs: number): Promise<void>;
};

/**
 * The watcher reads our end of a pipe, which closes when we die. A stopped server is continued, or
 * it would not see its signal. The watcher goes first, so that it never kills a pid that is reused.
 */
const GUARD = `
exec 4<&0
"$@" </dev/null 3>&- 4<&- & server=$!
echo "$server" >&3
{ read -r _ <&4; kill -TERM "$server"; kill -CONT "$server"; } >/dev/null 2>&1 3>&- & watcher=$!
exec 3>&- 4<&-
wait "$server"
code=$?
kill -KILL "$watcher"
wait "$watcher" 2>/dev/null
exit "$code"
`;

const LOG_CHARACTERS = 65_536;

/** @param command the program and its arguments; it must stay in the foreground */
export const spawnGuarded = async (
  command: string[],
  environment: NodeJS.ProcessEnv,
): Promise<GuardedChild> => {
  const shell = spawn('/bin/sh', ['-c', GUARD, 'sh', ...command], {
    env: environment,
    // A session of its own: Ctrl-C is for us, and we then stop the server in good order.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  });
  const printed = collectLog(shell);
  const ended = endOf(shell);
  const pid = await readPid(shell);
  unref(shell);
  const kill = (signal: NodeJS.Signals) => {
    if (shell.exitCode === null && shell.signalCode === null) killQuietly(pid, signal);
  };
  return {
    pid,
    ended,
    kill,
    log: printed.text,
    waitForLog: (pattern, timeoutMs) => waitForLog(printed, ended, pattern, timeoutMs),
    stop: async (graceMs) => {
      shell.ref();
      await stop(kill, ended, graceMs);
    },
  };
};

type Printed = { text(): string; listen(listener: () => void): () => void };

const collectLog = (shell: ChildProcess): Printed => {
  let text = '';
  const listeners = new Set<() => void>();
  const collect = (chunk: string) => {
    text = (text + chunk).slice(-LOG_CHARACTERS);
    for (const listener of listeners) listener();
  };
  shell.stdout?.setEncoding('utf8').on('data', collect);
  shell.stderr?.setEncoding('utf8').on('data', collect);
  // Of a server that a signal has ended it is 128 and the signal's number.
  shell.once('exit', (code) => collect(`[ended with ${code}]\n`));
  return {
    text: () => text,
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
};

const endOf = async (shell: ChildProcess): Promise<void> => {
  const closed = once(shell, 'close');
  await once(shell, 'exit');
  shell.stdin?.destroy();
  await closed;
};

const readPid = async (shell: ChildProcess): Promise<number> => {
  const pipe = shell.stdio[3];
  if (!(pipe instanceof Socket)) throw new Error('the guard has no pipe for the pid');
  const [line] = await once(pipe.setEncoding('utf8'), 'data');
  pipe.resume();
  return Number.parseInt(String(line), 10);
};

/** A program that forgets to stop the server can still end; then the server ends with it. */
const unref = (shell: ChildProcess): void => {
  shell.unref();
  for (const pipe of shell.stdio) if (pipe instanceof Socket) pipe.unref();
};

const waitForLog = (
  printed: Printed,
  ended: Promise<void>,
  pattern: RegExp,
  timeoutMs: number,
): Promise<RegExpMatchArray | null> =>
  new Promise((resolve) => {
    const settle = (match: RegExpMatchArray | null) => {
      clearTimeout(timer);
      unlisten();
      resolve(match);
    };
    const look = () => {
      const match = printed.text().match(pattern);
      if (match) settle(match);
    };
    const timer = setTimeout(() => settle(null), timeoutMs);
    const unlisten = printed.listen(look);
    ended.then(() => settle(printed.text().match(pattern)));
    look();
  });

const stop = async (
  kill: GuardedChild['kill'],
  ended: Promise<void>,
  graceMs: number,
): Promise<void> => {
  kill('SIGTERM');
  kill('SIGCONT');
  const timer = setTimeout(() => kill('SIGKILL'), graceMs);
  await ended;
  clearTimeout(timer);
};

const killQuietly = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It has just ended, and the guard has not told us yet.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
};
