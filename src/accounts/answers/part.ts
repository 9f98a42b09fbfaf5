import type { DatabasePool } from 'slonik';
import { createDatabasePool } from '../../db/connect.ts';
import { errorText, RejectError } from '../../errors.ts';
import { readCommand } from '../../xmpp/wire/command.ts';
import { discoInfoNs, discoItemsNs } from '../../xmpp/wire/disco.ts';
import { answerEntityQuery } from '../../xmpp/wire/entity.ts';
import type { ErrorDraft } from '../../xmpp/wire/error.ts';
import { formatIqError, formatIqResult, type Iq, readIq } from '../../xmpp/wire/iq.ts';
import type { KindParts, Line, Part, PartKind, Taken } from '../part.ts';
import { FEATURES } from './builtIn.ts';
import { type Directory, findHandler, listCommands } from './directory.ts';
import { answerInfo, answerItems, buildCaps, describeAccount } from './discovery.ts';
import { createFunctions } from './functions.ts';
import { createPeople } from './people.ts';
import type { Request } from './request.ts';
import { selectAnswerable, selectCommands, selectHandlers } from './store.ts';

/** Requests of an account that wait for their answers, at most. */
const REQUESTS = 100;
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

const createAnswersPart = (line: Line, shared: Shared): Part => {
  const { accountId, log } = line;
  /** Answers that the server has not acknowledged: sent again when the stream is lost. */
  const unhandled = new Set<string>();

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

  let underWay = 0;
  const people = createPeople(line, { refuse, room: () => REQUESTS - underWay });
  const functions = createFunctions(line, { send, refuse, functions: shared.functions });

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

  const view = (directory: Directory, from: string | null) => ({
    info: describeAccount(line.features(), line.account().notifyNodes),
    commands: listCommands(directory, accountId, from ?? line.ownJid(), line.ownJid()),
  });

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
      run(request, () => functions.runCommand(request, asked, directory));
      return {};
    }
    const handler = findHandler(directory, accountId, request.payload.getNS() ?? '');
    if (!handler) refuse(request, { condition: 'service-unavailable' });
    else if (handler.functionName === null) return people.keepRow(request, handler);
    else {
      const name = handler.functionName;
      run(request, () => functions.callForAnswer(request, handler, name));
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
    const answer = type === 'get' ? answerEntityQuery(payload, shared.version, new Date()) : null;
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
    sync: people.answerRows,
    online() {
      people.online();
      for (const stanza of [...unhandled]) send(stanza);
    },
    rest() {
      people.rest();
      functions.rest();
      unhandled.clear();
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
