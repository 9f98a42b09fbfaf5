/**
 * Requests of others: each gets one answer. Some are answered here for every account, others by functions
 * in the database or by people who update a row, all else is refused.
 */
import { randomBytes } from 'node:crypto';
import type { Element } from '@xmpp/client';
import type { DatabasePool } from 'slonik';
import { createDatabasePool } from '../../db/connect.ts';
import { errorText, RejectError } from '../../errors.ts';
import { type CommandRequest, formatCommand, readCommand } from '../../xmpp/wire/command.ts';
import { discoInfoNs, discoItemsNs } from '../../xmpp/wire/disco.ts';
import type { ErrorDraft } from '../../xmpp/wire/error.ts';
import { formatIqError, formatIqResult, type Iq, readIq } from '../../xmpp/wire/iq.ts';
import { formatElement } from '../../xmpp/wire/xml.ts';
import type { KindParts, Line, Part, PartKind, Taken } from '../part.ts';
import { answerBuiltIn, FEATURES } from './builtIn.ts';
import { type CommandFields, type CommandSession, createSessions, readFields } from './commands.ts';
import { type Directory, findCommand, findHandler, isAllowed, listCommands } from './directory.ts';
import { answerInfo, answerItems, buildCaps, describeAccount } from './discovery.ts';
import { buildReply, type CommandReply, readReply } from './reply.ts';
import { decideOutcome, type Outcome, readResponse } from './response.ts';
import { findSqlError, judgeSqlError } from './sqlErrors.ts';
import {
  type Command,
  callCommand,
  callHandler,
  type Handler,
  insertRequest,
  selectAnswerable,
  selectCommands,
  selectHandlers,
  selectPending,
  updateOutcome,
} from './store.ts';

/** Requests of an account that wait for their answers, at most. */
const REQUESTS = 100;
const COMMAND_S = 20;
/** Functions run at once, of all accounts; apart from what the daemon itself asks of the database. */
const FUNCTIONS = 8;

/** What the parts of all accounts share. */
type Shared = {
  version: string;
  /** The rows, once they have been read. */
  directory(): Directory | null;
  whenRead: Promise<unknown>;
  /** For functions of users, which may take their time. */
  functions(): Promise<DatabasePool>;
};

/** A request with its payload, as it came. */
type Request = Pick<Iq, 'id' | 'from'> & { type: 'get' | 'set'; payload: Element };

const createAnswersPart = (line: Line, shared: Shared): Part => {
  const { accountId, log } = line;
  const sessions = createSessions();
  /** Answers that the server has not acknowledged: sent again when the stream is lost. */
  const unhandled = new Set<string>();
  /** Rows whose answers are on their way, or are being noted down. */
  const answering = new Map<number, 'sent' | 'noted'>();
  let underWay = 0;
  let deadline: NodeJS.Timeout | null = null;
  let deadlineAt = 0;

  const send = (stanza: string) => {
    unhandled.add(stanza);
    line.send(stanza, () => unhandled.delete(stanza));
  };
  const refuse = (request: Pick<Iq, 'id' | 'from'>, error: ErrorDraft) =>
    send(formatIqError(request, error));
  const refuseBecause = (request: Pick<Iq, 'id' | 'from'>, error: unknown) => {
    const isVerdict = error instanceof RejectError;
    if (!isVerdict) log.error({ err: error, peer: request.from }, 'internal error');
    refuse(
      request,
      isVerdict
        ? { condition: error.condition, text: errorText(error) }
        : { condition: 'internal-server-error' },
    );
  };

  const view = (directory: Directory, from: string | null) => ({
    info: describeAccount(line.features(), line.account().notifyNodes),
    commands: listCommands(directory, accountId, from ?? line.ownJid(), line.ownJid()),
  });

  // What people answer.

  const note = (id: number, outcome: Outcome) => {
    answering.set(id, 'noted');
    updateOutcome(line.db, id, outcome)
      .catch((err: unknown) => log.debug({ err, request: id }, 'answer not noted'))
      .finally(() => answering.delete(id));
  };

  const answerRows = async (): Promise<void> => {
    const rows = await selectPending(line.db, accountId);
    let nextMs = Number.POSITIVE_INFINITY;
    for (const row of rows) {
      if (answering.has(row.id)) continue;
      const outcome = decideOutcome(row, line.account().maxStanzaBytes);
      if (!outcome) nextMs = Math.min(nextMs, row.answerInMs);
      else if (line.send(outcome.stanza, () => note(row.id, outcome))) {
        answering.set(row.id, 'sent');
        log.debug({ request: row.id, state: outcome.state }, 'request answered');
      }
    }
    if (nextMs < Number.POSITIVE_INFINITY) expectAnswer(nextMs);
  };

  /** Looks again when the time of a row is up. */
  const expectAnswer = (withinMs: number) => {
    const at = Date.now() + withinMs;
    if (deadline && deadlineAt <= at) return;
    if (deadline) clearTimeout(deadline);
    deadlineAt = at;
    deadline = setTimeout(() => {
      deadline = null;
      if (line.fullJid() === null) return;
      answerRows().catch((err: unknown) => log.debug({ err }, 'rows not read'));
    }, withinMs + 1);
  };

  const keepRow = (request: Request, handler: Handler): Taken => {
    const { timeoutS, namespace } = handler;
    const { id: iqId, from: iqFrom, type: iqType } = request;
    const payload = formatElement(request.payload);
    const row = { accountId, iqFrom, iqType, iqId, namespace, payload, timeoutS };
    let isKept = false;
    return {
      async write(client) {
        isKept = await insertRequest(client, row, REQUESTS - underWay);
      },
      onStored() {
        if (isKept) expectAnswer(timeoutS * 1_000);
        else refuse(request, { condition: 'resource-constraint' });
      },
    };
  };

  // What functions answer.

  /** Runs `work` unless too much is under way; what it throws is the answer. */
  const run = (request: Request, work: () => Promise<void>) => {
    if (underWay >= REQUESTS) {
      refuse(request, { condition: 'resource-constraint' });
      return;
    }
    underWay += 1;
    work()
      .catch((error: unknown) => refuseBecause(request, error))
      .finally(() => {
        underWay -= 1;
      });
  };

  /** @returns null when it failed, which has been answered */
  const call = async <Result>(
    request: Request,
    name: string,
    work: (db: DatabasePool) => Promise<Result>,
  ): Promise<{ result: Result } | null> => {
    try {
      return { result: await work(await shared.functions()) };
    } catch (error) {
      const judged = judgeSqlError(findSqlError(error));
      const isFault = judged.condition === 'internal-server-error';
      const fields = { function: name, peer: request.from, reason: errorText(error) };
      log[isFault ? 'warn' : 'debug'](fields, 'function failed');
      refuse(request, judged);
      return null;
    }
  };

  const callForAnswer = async (request: Request, handler: Handler, name: string) => {
    const { from: iqFrom, type: iqType } = request;
    const asked = { accountId, iqFrom, iqType, payload: formatElement(request.payload) };
    const called = await call(request, name, (db) =>
      callHandler(db, name, handler.timeoutS, asked),
    );
    if (!called) return;
    try {
      const payload = readResponse(called.result, line.account().maxStanzaBytes);
      send(formatIqResult(request, payload));
    } catch (error) {
      log.warn({ function: name, reason: errorText(error) }, 'answer of a function not sent');
      refuse(request, { condition: 'internal-server-error' });
    }
  };

  const reply = (request: Request, name: string, session: CommandSession, said: CommandReply) => {
    try {
      const payload = buildReply(session.node, session.id, said);
      if (said.form) sessions.keep({ ...session, form: said.form }, Date.now());
      send(formatIqResult(request, payload));
    } catch (error) {
      log.warn({ function: name, reason: errorText(error) }, 'answer of a function not sent');
      refuse(request, { condition: 'internal-server-error' });
    }
  };

  const runStep = async (
    request: Request,
    command: Command,
    session: CommandSession,
    fields: CommandFields | null,
  ) => {
    const { functionName: name } = command;
    const jid = session.jid;
    const called = await call(request, name, async (db) =>
      readReply(await callCommand(db, name, COMMAND_S, { accountId, jid, fields })),
    );
    if (called) reply(request, name, session, called.result);
    // What was filled in may be mended.
    else if (fields !== null) sessions.keep(session, Date.now());
  };

  const beginCommand = async (request: Request, command: Command, asked: CommandRequest) => {
    if (asked.action !== 'execute') {
      throw new RejectError('the command has not begun', 'bad-request');
    }
    if (sessions.isFull(Date.now())) {
      throw new RejectError('too many commands are open', 'resource-constraint');
    }
    const id = randomBytes(16).toString('base64url');
    const jid = request.from ?? line.ownJid();
    await runStep(request, command, { id, node: asked.node, jid, form: [] }, null);
  };

  const continueCommand = async (
    request: Request,
    command: Command,
    { node, sessionId, action, form }: CommandRequest & { sessionId: string },
  ) => {
    const jid = request.from ?? line.ownJid();
    const session = sessions.take(sessionId, node, jid, Date.now());
    if (!session) throw new RejectError('there is no such session', 'bad-request');
    if (action === 'cancel' || form?.type === 'cancel') {
      send(formatIqResult(request, formatCommand({ node, sessionId, status: 'canceled' })));
      return;
    }
    try {
      if (action === 'prev') throw new RejectError('there is no way back', 'bad-request');
      await runStep(request, command, session, readFields(session.form, form));
    } catch (error) {
      sessions.keep(session, Date.now());
      throw error;
    }
  };

  const runCommand = async (request: Request, asked: CommandRequest, directory: Directory) => {
    const command = findCommand(directory, accountId, asked.node);
    if (!command) throw new RejectError('there is no such command', 'item-not-found');
    if (!isAllowed(command.allowed, request.from ?? line.ownJid(), line.ownJid())) {
      throw new RejectError('you may not run this command', 'forbidden');
    }
    const { sessionId } = asked;
    if (sessionId === null) await beginCommand(request, command, asked);
    else await continueCommand(request, command, { ...asked, sessionId });
  };

  // All of them.

  const answerDisco = (request: Request, directory: Directory): string | null => {
    const { payload, from } = request;
    if (payload.is('query', discoInfoNs)) return answerInfo(payload, view(directory, from));
    if (!payload.is('query', discoItemsNs)) return null;
    return answerItems(payload, line.fullJid() ?? line.ownJid(), view(directory, from));
  };

  const handle = (request: Request, directory: Directory): Taken => {
    const payload = request.type === 'get' ? answerDisco(request, directory) : null;
    if (payload !== null) {
      send(formatIqResult(request, payload));
      return {};
    }
    const asked = request.type === 'set' ? readCommand(request.payload) : null;
    if (asked) {
      run(request, () => runCommand(request, asked, directory));
      return {};
    }
    const handler = findHandler(directory, accountId, request.payload.getNS() ?? '');
    if (!handler) refuse(request, { condition: 'service-unavailable' });
    else if (handler.functionName === null) return keepRow(request, handler);
    else {
      const name = handler.functionName;
      run(request, () => callForAnswer(request, handler, name));
    }
    return {};
  };

  const handleSafely = (request: Request, directory: Directory): Taken => {
    try {
      return handle(request, directory);
    } catch (error) {
      refuseBecause(request, error);
      return {};
    }
  };

  const handleLater = (request: Request) =>
    run(request, async () => {
      await shared.whenRead;
      const directory = shared.directory();
      if (!directory) return;
      const taken = handleSafely(request, directory);
      if (taken.write) line.store(taken);
    });

  const receiveRequest = (request: Request): Taken => {
    const { type, payload } = request;
    const answer = type === 'get' ? answerBuiltIn(payload, shared.version, new Date()) : null;
    if (answer !== null) {
      send(formatIqResult(request, answer));
      return {};
    }
    const directory = shared.directory();
    if (directory) return handleSafely(request, directory);
    handleLater(request);
    return {};
  };

  return {
    features: FEATURES,
    presence: () => buildCaps(describeAccount(line.features(), line.account().notifyNodes)),
    receive(stanza) {
      const { type, id, from = null } = stanza.attrs;
      if (stanza.name !== 'iq' || !id || (type !== 'get' && type !== 'set')) return null;
      try {
        const payload = readIq(stanza)?.payload;
        return payload ? receiveRequest({ id, from, type, payload }) : null;
      } catch (error) {
        refuseBecause({ id, from }, error);
        return {};
      }
    },
    sync: answerRows,
    online() {
      // Their stream is lost, or went on without them.
      for (const [id, state] of answering) if (state === 'sent') answering.delete(id);
      for (const stanza of [...unhandled]) send(stanza);
    },
    rest() {
      if (deadline) clearTimeout(deadline);
      deadline = null;
      unhandled.clear();
      answering.clear();
      sessions.clear();
    },
  };
};

/** It is asked last: other parts have requests of their own. */
export const createAnswersKind = ({ address, db, version }: KindParts): PartKind => {
  let directory: Directory | null = null;
  let functions: Promise<DatabasePool> | null = null;
  const read = Promise.withResolvers<void>();
  const shared: Shared = {
    version,
    directory: () => directory,
    whenRead: read.promise,
    functions() {
      functions ??= createDatabasePool(address, FUNCTIONS);
      return functions;
    },
  };
  return {
    tables: ['xmpp_iq_handlers', 'xmpp_commands', 'xmpp_iq_requests'],
    async selectBehind() {
      directory = { handlers: await selectHandlers(db), commands: await selectCommands(db) };
      read.resolve();
      return selectAnswerable(db);
    },
    create: (line) => createAnswersPart(line, shared),
    async close() {
      const pool = await functions;
      await pool?.end();
    },
  };
};
