/** A client of slixmpp, a library that is not ours, for the far end of the wire. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { findProgram } from '../../src/demo/findProgram.ts';
import { createStanzaLog, type StanzaLog } from './stanzaLog.ts';
import { createXmlReader, type Stanza } from './xmlReader.ts';

export type SlixmppOptions = {
  host: string;
  port: number;
  /** Bare, or with the resource that is wanted. */
  jid: string;
  password: string;
  /** Whether to become available; true if absent. */
  presence?: boolean;
  /** Of SASL, such as SCRAM-SHA-1; the best that the server offers if absent. */
  mechanism?: string;
};

export type SlixmppClient = Pick<StanzaLog, 'stanzas' | 'onStanza'> & {
  /** With the resource that the server gave. */
  jid: string;
  /** Takes the first stanza that fits and that nobody has taken, as `next` of a raw client. */
  waitFor: StanzaLog['next'];
  /** Writes the text as it stands, in order with all else that the client sends. */
  send(xml: string): void;
  /** @returns the answer, a result or an error, to the request; its id is read from its text */
  iq(xml: string): Promise<string>;
  /**
   * A command of `slixmpp.py`, with its arguments by name; none is called `id` or `do`.
   *
   * @throws Error with the condition when the far end refuses
   */
  do(command: string, args?: Record<string, unknown>): Promise<unknown>;
  /** Settles when the program has ended, with what is known of the cause. */
  closed: Promise<string>;
  /** Ends the stream in good order, then the program. */
  close(): Promise<void>;
};

type Waiter = { command: string; resolve(value: unknown): void; reject(error: Error): void };

/** A line that the program writes: the answer to a command, or what has happened. */
type Line =
  | { id: number; ok?: unknown; error?: string }
  | { event: 'message' | 'presence' | 'iq'; xml: string }
  | { event: 'disconnected'; reason: string };

const PROGRAM = fileURLToPath(new URL('slixmpp.py', import.meta.url));
const CLOSE_MS = 5_000;
const LOG_CHARACTERS = 8_192;
// It is looked for, not loaded: that would take each test file half a second.
const LOOK = "import sys, importlib.util as u; sys.exit(u.find_spec('slixmpp') is None)";

/** A Python that has slixmpp; that of the system, which its package is for, before any other. */
export const findSlixmpp = (): string | null => {
  const pythons = [findProgram('python3', []), '/usr/bin/python3'].reverse();
  const hasSlixmpp = (python: string | null): boolean =>
    python !== null && spawnSync(python, ['-I', '-c', LOOK], { stdio: 'ignore' }).status === 0;
  return pythons.find(hasSlixmpp) ?? null;
};

/** @throws Error when there is no slixmpp, or the server refuses */
export const connectSlixmpp = async (options: SlixmppOptions): Promise<SlixmppClient> => {
  const python = findSlixmpp();
  if (python === null) throw new Error('slixmpp is not installed');
  // It ends when its input does, so it cannot outlive us.
  const child = spawn(python, ['-I', PROGRAM], { stdio: ['pipe', 'pipe', 'pipe'] });
  const client = createClient(child);
  try {
    const { host, port, jid, password, mechanism } = options;
    const bound = await client.do('connect', { host, port, jid, password, mechanism });
    client.jid = (bound as { jid: string }).jid; // what `connect` of slixmpp.py answers
    if (options.presence ?? true) await client.do('presence');
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
};

const createClient = (child: ChildProcessWithoutNullStreams): SlixmppClient => {
  const log = createStanzaLog();
  const addStanza = createStanzaReader(log.add);
  const waiters = new Map<number, Waiter>();
  const printed = collectErrors(child);
  let lastId = 0;

  const onLine = (line: Line): void => {
    if ('id' in line) settle(waiters, line);
    else if (line.event === 'disconnected') log.end(`disconnected: ${line.reason}`);
    else addStanza(line.xml);
  };
  createInterface(child.stdout).on('line', (text) => onLine(JSON.parse(text)));
  // To write to one that has ended is no accident: `closed` tells of it.
  child.stdin.on('error', () => {});
  const closed = new Promise<string>((resolve) => {
    const end = (cause: string) => {
      const reason = `slixmpp has ended: ${cause} ${printed()}`.trim();
      log.end(reason);
      for (const { command, reject } of waiters.values())
        reject(new Error(`${command}: ${reason}`));
      waiters.clear();
      resolve(reason);
    };
    child.on('error', (error) => end(error.message));
    child.on('close', (code, signal) => end(`${signal ?? code}`));
  });

  const run = (command: string, args: Record<string, unknown> = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (child.exitCode !== null || child.signalCode !== null || child.stdin.writableEnded) {
        reject(new Error(`${command}: slixmpp has ended ${printed()}`));
        return;
      }
      lastId += 1;
      waiters.set(lastId, { command, resolve, reject });
      child.stdin.write(`${JSON.stringify({ ...args, id: lastId, do: command })}\n`);
    });
  return {
    jid: '',
    stanzas: log.stanzas,
    onStanza: log.onStanza,
    waitFor: log.next,
    send: (xml) => {
      // If it cannot be sent, what waits for its effect will tell.
      run('send', { xml }).catch(() => {});
    },
    iq: async (xml) => String(await run('iq', { xml })),
    do: run,
    closed,
    async close() {
      child.stdin.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS);
      await closed;
      clearTimeout(timer);
    },
  };
};

const settle = (
  waiters: Map<number, Waiter>,
  { id, ok, error }: { id: number; ok?: unknown; error?: string },
): void => {
  const waiter = waiters.get(id);
  waiters.delete(id);
  if (error === undefined) waiter?.resolve(ok);
  else waiter?.reject(new Error(`${waiter.command}: ${error}`));
};

/** Reads each text as a stanza of a stream, so that it looks as if a raw client had got it. */
const createStanzaReader = (onStanza: (stanza: Stanza) => void): ((xml: string) => void) => {
  const ignore = () => {};
  const reader = createXmlReader({ onHeader: ignore, onStanza, onFooter: ignore });
  reader.read(Buffer.from("<stream:stream xmlns='jabber:client' xmlns:stream='urn:stream'>"));
  return (xml) => reader.read(Buffer.from(xml));
};

const collectErrors = (child: ChildProcessWithoutNullStreams): (() => string) => {
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-LOG_CHARACTERS);
  });
  return () => text.trim();
};
