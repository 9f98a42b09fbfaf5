/** Requests that functions in the database answer, among them the steps of commands (XEP-0050). */
import { randomBytes } from 'node:crypto';
import type { DatabasePool } from 'slonik';
import { errorText, RejectError } from '../../errors.ts';
import { type CommandRequest, formatCommand } from '../../xmpp/wire/command.ts';
import type { ErrorDraft } from '../../xmpp/wire/error.ts';
import { formatIqResult } from '../../xmpp/wire/iq.ts';
import { formatElement } from '../../xmpp/wire/xml.ts';
import type { Line } from '../part.ts';
import { type CommandFields, type CommandSession, createSessions, readFields } from './commands.ts';
import { type Directory, findCommand, isAllowed } from './directory.ts';
import { buildReply, type CommandReply, readReply } from './reply.ts';
import type { Request } from './request.ts';
import { readResponse } from './response.ts';
import { findSqlError, judgeSqlError } from './sqlErrors.ts';
import { type Command, callCommand, callHandler, type Handler } from './store.ts';

const COMMAND_S = 20;

type Parts = {
  send(stanza: string): void;
  refuse(request: Request, error: ErrorDraft): void;
  /** For functions of users, which may take their time. */
  functions(): Promise<DatabasePool>;
};

export const createFunctions = (line: Line, { send, refuse, functions }: Parts) => {
  const { accountId, log } = line;
  const sessions = createSessions();

  /** @returns null when it failed, which has been answered */
  const call = async <Result>(
    request: Request,
    name: string,
    work: (db: DatabasePool) => Promise<Result>,
  ): Promise<{ result: Result } | null> => {
    try {
      return { result: await work(await functions()) };
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

  return {
    callForAnswer,
    runCommand,
    /** Commands that are under way are forgotten. */
    rest: (): void => sessions.clear(),
  };
};
