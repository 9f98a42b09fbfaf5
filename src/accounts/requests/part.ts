/**
 * Requests to others, each a row that gets the answer. A row stays queued until it is answered, and nothing
 * of what is under way is needed to store an answer: its id tells the row, also after a restart.
 */
import type { Element } from '@xmpp/client';
import type pg from 'pg';
import type { QueueRow } from '../../db/linkBuffer.ts';
import { createQueue, type Queue, type Link as QueueLink } from '../../db/queue.ts';
import { errorText, RejectError } from '../../errors.ts';
import { isFromAsked } from '../../xmpp/wire/asked.ts';
import type { KindParts, Line, Part, PartKind, Taken } from '../part.ts';
import type { RowKey } from '../stanzaId.ts';
import { formatRequestId, parseRequestId } from './requestId.ts';
import { type Asking, buildRequest, readAnswer } from './stanzas.ts';
import { IQ_QUEUE, selectAsked, updateAnswered } from './store.ts';

type IqRow = QueueRow & Asking & { insertedAtS: number; timeoutS: number };

/** Rows of an account that wait for their answers, at most. */
const WINDOW_ROWS = 50;
/** Characters that the server has not acknowledged, at most, or one row. */
const WINDOW_CHARS = 32_768;

type UnderWay = {
  row: IqRow;
  stanzaId: string;
  /** Not acknowledged by the server: lost if the stream is. */
  sizeInDoubt: number;
  timer: NodeJS.Timeout | null;
};

const createRequestsPart = (line: Line, queue: Queue<IqRow>): Part => {
  let rows: QueueLink<IqRow> | null = null;
  const underWay = new Map<number, UnderWay>();

  const stopClock = (request: UnderWay) => {
    if (request.timer) clearTimeout(request.timer);
    request.timer = null;
  };
  const end = (request: UnderWay) => {
    stopClock(request);
    underWay.delete(request.row.id);
  };
  const startClock = (request: UnderWay) => {
    const { row, stanzaId } = request;
    stopClock(request);
    request.timer = setTimeout(() => {
      end(request);
      const info = `no answer within ${row.timeoutS} s`;
      line.log.debug({ row: row.id, reason: info }, 'request failed');
      rows?.settle(row, { state: 'failed', info, stanzaId });
      pump();
    }, row.timeoutS * 1_000);
  };

  const giveBack = (isMatch: (request: UnderWay) => boolean) => {
    const lost = [...underWay.values()].filter(isMatch);
    for (const request of lost) end(request);
    rows?.giveBack(lost.map(({ row }) => row));
  };

  /** @returns null when the row cannot be sent and has been settled */
  const prepare = (row: IqRow, stanzaId: string): string | null => {
    try {
      return buildRequest(row, stanzaId, line.account().maxStanzaBytes);
    } catch (error) {
      const isVerdict = error instanceof RejectError;
      if (!isVerdict) line.log.error({ err: error, row: row.id }, 'internal error');
      const info = isVerdict ? `${error.condition}: ${errorText(error)}` : 'internal error';
      rows?.settle(row, { state: 'failed', info, stanzaId: null });
      return null;
    }
  };

  /** @returns whether it was dealt with */
  const send = (row: IqRow): boolean => {
    const stanzaId = formatRequestId(line.secret(), row);
    const stanza = prepare(row, stanzaId);
    if (stanza === null) return true;
    const request: UnderWay = { row, stanzaId, sizeInDoubt: stanza.length, timer: null };
    const isSent = line.send(stanza, () => {
      request.sizeInDoubt = 0;
      pump();
    });
    if (!isSent) return false;
    underWay.set(row.id, request);
    startClock(request);
    return true;
  };

  const isFull = (): boolean => {
    const sizes = [...underWay.values()].map(({ sizeInDoubt }) => sizeInDoubt);
    return sizes.length >= WINDOW_ROWS || sizes.reduce((a, b) => a + b, 0) >= WINDOW_CHARS;
  };

  const pump = () => {
    while (rows && line.fullJid() !== null && !isFull()) {
      const [row] = rows.take(1);
      if (!row) return;
      if (send(row)) continue;
      rows.giveBack([row]);
      return;
    }
  };

  /** Runs in the transaction. @returns false when it does not come from whom was asked */
  const store = async (client: pg.Client, stanza: Element, key: RowKey): Promise<boolean> => {
    const asked = await selectAsked(client, key);
    const { accountId } = line;
    const isOurs = asked && (asked.accountId === null || asked.accountId === accountId);
    if (!isOurs) return false;
    const to = asked.iqTo?.trim() ?? null;
    if (!isFromAsked(to, stanza.attrs.from, line.ownJid())) return false;
    const stanzaId = stanza.attrs.id ?? '';
    await updateAnswered(client, { ...key, ...readAnswer(stanza), accountId, stanzaId });
    return true;
  };

  const settleAnswered = ({ id }: RowKey) => {
    const request = underWay.get(id);
    if (request) end(request);
    if (request) rows?.forget(request.row);
    pump();
  };

  const open = () => {
    rows ??= queue.openLink(line.accountId, pump);
  };

  return {
    online(isResumed) {
      open();
      // What the server did not get of a stream that goes on, or all of one that does not.
      giveBack(({ sizeInDoubt }) => !isResumed || sizeInDoubt > 0);
      for (const request of underWay.values()) startClock(request);
      pump();
    },
    receive(stanza): Taken | null {
      const { type, id } = stanza.attrs;
      if (stanza.name !== 'iq' || !id || (type !== 'result' && type !== 'error')) return null;
      const key = parseRequestId(line.secret(), id);
      if (!key) return null;
      let isBelieved = false;
      return {
        async write(client) {
          isBelieved = await store(client, stanza, key);
        },
        onStored() {
          if (isBelieved) settleAnswered(key);
          else line.distrust(stanza, 'an answer to what another was asked');
        },
      };
    },
    offline() {
      // An answer may wait for us at the server.
      for (const request of underWay.values()) stopClock(request);
    },
    rest() {
      giveBack(() => true);
      rows?.close();
      rows = null;
    },
  };
};

export const createRequestsKind = (parts: KindParts): PartKind => {
  const { address, ownership, log, describeUnlinked } = parts;
  const queue = createQueue<IqRow>({
    address,
    table: IQ_QUEUE,
    ownership,
    log,
    // None is ever put off, so none can be overtaken.
    orderKey: ({ iqTo }) => iqTo ?? '',
    describeUnlinked,
  });
  return {
    tables: [],
    selectBehind: async () => [],
    create: (line) => createRequestsPart(line, queue),
    queue: { table: IQ_QUEUE.name, queue },
  };
};
