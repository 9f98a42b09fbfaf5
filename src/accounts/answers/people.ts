/** Requests that people answer: each becomes a row, and is answered when the row is, or its time is up. */
import type { ErrorDraft } from '../../xmpp/wire/error.ts';
import { formatElement } from '../../xmpp/wire/xml.ts';
import type { Line, Taken } from '../part.ts';
import type { Request } from './request.ts';
import { decideOutcome, type Outcome } from './response.ts';
import { type Handler, insertRequest, selectPending, updateOutcome } from './store.ts';

type Parts = {
  refuse(request: Request, error: ErrorDraft): void;
  /** How many more requests may wait for their answers. */
  room(): number;
};

export const createPeople = (line: Line, { refuse, room }: Parts) => {
  const { accountId, log } = line;
  /** Rows whose answers are on their way, or are being noted down. */
  const answering = new Map<number, 'sent' | 'noted'>();
  let deadline: NodeJS.Timeout | null = null;
  let deadlineAt = 0;

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
        isKept = await insertRequest(client, row, room());
      },
      onStored() {
        if (isKept) expectAnswer(timeoutS * 1_000);
        else refuse(request, { condition: 'resource-constraint' });
      },
    };
  };

  return {
    answerRows,
    keepRow,
    /** A stream is there: the last one is lost, or went on without them. */
    online(): void {
      for (const [id, state] of answering) if (state === 'sent') answering.delete(id);
    },
    rest(): void {
      if (deadline) clearTimeout(deadline);
      deadline = null;
      answering.clear();
    },
  };
};
