/**
 * Rows on the wire and not yet acknowledged, in the order sent. The window is small, so that few rows
 * are in doubt when a connection is lost; servers that throttle get no more than they take.
 */
import type { Link as QueueLink } from '../db/queue.ts';
import type { Result } from '../db/queueWriter.ts';
import { errorText, ProtocolError, RejectError, RetryError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Session } from '../xmpp/session.ts';
import { readBareJid } from '../xmpp/wire/jid.ts';
import type { TxRow } from './link.ts';
import { createRecent } from './recent.ts';
import { createReflections } from './reflections.ts';
import { buildMessage, isOfTheMoment } from './stanzas.ts';

/** Rows in doubt at most. */
const WINDOW_ROWS = 100;
/** Rows at most that a crash would send again: in doubt, or acknowledged and not yet settled in the table. */
const REPEATED_ROWS = 400;
/** Bytes on the way at most, or one row: what a throttled server swallows would look dead. */
const WINDOW_BYTES = 32_768;
const SETTLE_POLL_MS = 10;

/** How long a chat state is worth sending. */
const MOMENT_S = 30;

/**
 * A stanza on the wire; one without a row is an answer or presence, which nobody waits for, or its row
 * is settled already.
 */
type Sent = {
  row: TxRow | null;
  stanzaId: string;
  to: string;
  sizeBytes: number;
  isReflected: boolean;
  onHandled?: (() => void) | undefined;
};
/** A row and the stanza made of it. */
type Ready = { row: TxRow; text: string; sent: Sent };

export type Outbox = {
  /** Sends as many rows as the window allows. */
  pump(rows: QueueLink<TxRow>, session: Session): void;
  /** A stanza that is no row. @param onHandled called if the server acknowledges it */
  sendAside(session: Session, stanza: string, onHandled?: () => void): void;
  acknowledge(rows: QueueLink<TxRow>, count: number): void;
  /** A session has begun: what is in doubt was handled before, or is to be sent again. */
  begin(rows: QueueLink<TxRow>, session: Pick<Session, 'handledBefore' | 'isResumed'>): void;
  /** The session ended by `error` with rows in doubt; one of them may be why. */
  suspect(rows: QueueLink<TxRow>, error: Error): void;
  giveBack(rows: QueueLink<TxRow>): void;
  /**
   * A room has shown the message to all: only now it is certain that it took it (XEP-0045 §7.4). Its row is
   * settled in the table.
   */
  reflect(rows: QueueLink<TxRow>, stanzaId: string): void;
  /** The message came back as an error, which is told elsewhere; it counts from whom it went to. */
  dismiss(rows: QueueLink<TxRow>, stanzaId: string, from: string | null): void;
  /** No reflection is to be expected any more: the rows that went to the room are sent again. */
  abandon(rows: QueueLink<TxRow>, roomJid: string): void;
  /** Rows that are settled already and may yet be in the queue's hands. */
  skip(rowIds: readonly number[]): void;
  /** Takes no more rows, and waits until nothing is in doubt. */
  settled(timeoutMs: number): Promise<void>;
};

/** Stream errors that a stanza of ours can have caused. Source: RFC 6120 §4.9.3. */
const CAUSED_BY_STANZA = new Set([
  'not-well-formed',
  'bad-format',
  'bad-namespace-prefix',
  'invalid-xml',
  'invalid-from',
  'invalid-namespace',
  'policy-violation',
  'restricted-xml',
  'unsupported-stanza-type',
  'unsupported-encoding',
  'undefined-condition',
]);

const isLate = (row: TxRow): boolean =>
  isOfTheMoment(row) && Date.now() / 1_000 - row.insertedAtS > MOMENT_S;

/** Of a row that may have arrived, for a person to decide. */
const UNCERTAIN: Result = {
  state: 'failed',
  info:
    'uncertain: the connection was lost before the server acknowledged it; ' +
    "set state to 'queued' to send it again",
  stanzaId: null,
};

type Parts = {
  describe(row: TxRow): { id: string; maxBytes: number };
  /** @throws RetryError the row cannot go yet; RejectError it never can */
  admit(row: TxRow, to: string, type: string): void;
  /** Whether rows in doubt fail, for a person to decide, instead of being sent again. */
  isHolding(): boolean;
  /** Whether the daemon may still speak for the account. */
  isFresh(): boolean;
  /** Asks for `pump`. */
  proceed(): void;
  log: Log;
};

export const createOutbox = (parts: Parts): Outbox => {
  const { describe, admit, isHolding, log } = parts;
  let inDoubt: Sent[] = [];
  let bytesInDoubt = 0;
  let isEnding = false;
  /** Stanzas sent on this stream and acknowledged, modulo 2^32: says what a resumed stream missed. */
  let handledCount = 0;
  /** Rows that were in doubt when a stream error came: they are sent one by one. */
  let suspects = new Set<number>();
  const reflections = createReflections(4 * REPEATED_ROWS);

  /** The table is being told of rows that are about to go out; none may overtake them. */
  let isMarking = false;
  /** Rows that the table says may have gone out, and that certainly have not. */
  const unsent = new Set<number>();
  /** Rows that were settled while they may have been in the queue's hands; most never were. */
  const skipped = createRecent<number>(4 * REPEATED_ROWS);

  const forget = () => {
    inDoubt = [];
    bytesInDoubt = 0;
  };

  const rowsInDoubt = (): TxRow[] => inDoubt.flatMap(({ row }) => row ?? []);

  const hold = (rows: QueueLink<TxRow>, row: TxRow) => {
    log.info({ row: row.id }, 'row uncertain');
    suspects.delete(row.id);
    rows.settle(row, UNCERTAIN);
  };

  /** Rows that may have arrived. */
  const giveUp = (rows: QueueLink<TxRow>, doubted: TxRow[]) => {
    if (isHolding()) for (const row of doubted) hold(rows, row);
    else rows.giveBack(doubted);
  };

  /** Rows that have not arrived. */
  const takeBack = (rows: QueueLink<TxRow>, back: TxRow[]) => {
    if (isHolding()) for (const { id } of back) unsent.add(id);
    rows.giveBack(back);
  };

  const giveBack = (rows: QueueLink<TxRow>, areCertain: boolean) => {
    const back = rowsInDoubt();
    forget();
    if (areCertain) takeBack(rows, back);
    else giveUp(rows, back);
  };

  /** Takes the row out of all that is waited for. @returns null when it is not among it */
  const takeWaiting = (stanzaId: string): TxRow | null => {
    const waiting = reflections.take(stanzaId);
    if (waiting) return waiting;
    // What the room says may be here before the server's acknowledgement, which still counts the stanza.
    const sent = inDoubt.find((other) => other.stanzaId === stanzaId && other.row !== null);
    if (!sent?.row) return null;
    const { row } = sent;
    sent.row = null;
    suspects.delete(row.id);
    return row;
  };

  const retryUnreflected = (rows: QueueLink<TxRow>) => {
    const info = 'the room has not shown the message';
    for (const { row, stanzaId, isLast } of reflections.takeOverdue(Date.now())) {
      if (isLast) rows.settle(row, { state: 'failed', info, stanzaId });
      else rows.putOff(row, 0, info);
    }
  };

  const acknowledge = (rows: QueueLink<TxRow>, count: number) => {
    handledCount = (handledCount + count) % 2 ** 32;
    for (const sent of inDoubt.splice(0, count)) {
      const { row, stanzaId } = sent;
      bytesInDoubt -= sent.sizeBytes;
      sent.onHandled?.();
      if (!row) continue;
      suspects.delete(row.id);
      if (sent.isReflected) {
        reflections.wait(stanzaId, row, sent.to);
        continue;
      }
      log.debug({ row: row.id }, 'row sent');
      rows.settle(row, { state: 'submitted', info: null, stanzaId });
    }
  };

  /** @returns the stanza; else what became of the row, which cannot go */
  const prepare = (rows: QueueLink<TxRow>, row: TxRow): Ready | 'put off' | 'settled' => {
    try {
      if (isLate(row)) {
        const info = 'a chat state is not sent late';
        rows.settle(row, { state: 'expired', info, stanzaId: null });
        return 'settled';
      }
      const { id, maxBytes } = describe(row);
      if (reflections.wasShown(id)) {
        rows.settle(row, { state: 'submitted', info: null, stanzaId: id });
        return 'settled';
      }
      const { text, to, type } = buildMessage(row, id, maxBytes);
      admit(row, to, type);
      const isReflected = type === 'groupchat';
      return { row, text, sent: { row, stanzaId: id, to, sizeBytes: text.length, isReflected } };
    } catch (error) {
      if (error instanceof RetryError) {
        rows.putOff(row, error.afterMs, errorText(error));
        return 'put off';
      }
      const isVerdict = error instanceof RejectError;
      if (!isVerdict) log.error({ err: error, row: row.id }, 'internal error');
      const info = isVerdict ? `${error.condition}: ${errorText(error)}` : 'internal error';
      log.info({ row: row.id, reason: info }, 'row failed');
      rows.settle(row, { state: 'failed', info, stanzaId: null });
      return 'settled';
    }
  };

  const room = (rows: QueueLink<TxRow>): number => {
    if (isEnding) return 0;
    if (suspects.size > 0) return inDoubt.length === 0 ? 1 : 0;
    if (bytesInDoubt >= WINDOW_BYTES) return 0;
    const unsettled = rows.unsettled() + reflections.count();
    return Math.min(WINDOW_ROWS, REPEATED_ROWS - unsettled) - inDoubt.length;
  };

  const write = (session: Session, batch: Ready[]) => {
    for (const { row, sent } of batch) {
      unsent.delete(row.id);
      bytesInDoubt += sent.sizeBytes;
      inDoubt.push(sent);
    }
    session.send(batch.map(({ text }) => text).join(''), batch.length);
  };

  const writeMarked = async (rows: QueueLink<TxRow>, session: Session, batch: Ready[]) => {
    isMarking = true;
    const marked = new Set(await rows.mark(batch.map(({ row }) => row)));
    isMarking = false;
    const going = batch.filter(({ row }) => marked.has(row));
    if (!session.isOpen() || !parts.isFresh()) takeBack(rows, [...marked]);
    else if (going.length > 0) write(session, going);
    parts.proceed();
  };

  /** Whether the row may go, as far as it is known what became of it before. */
  const mayGo = (rows: QueueLink<TxRow>, row: TxRow): boolean => {
    if (skipped.take(row.id)) rows.forget(row);
    else if (isHolding() && row.isSubmitting && !unsent.has(row.id)) hold(rows, row);
    else return true;
    return false;
  };

  const pump = (rows: QueueLink<TxRow>, session: Session) => {
    if (isMarking) return;
    if (reflections.count() > 0) retryUnreflected(rows);
    const free = room(rows);
    // Refilled by halves, so that writes stay large.
    if (free < 1 || (suspects.size === 0 && free < WINDOW_ROWS / 2)) return;
    const taken = rows.take(free);
    const batch: Ready[] = [];
    let sizeBytes = bytesInDoubt;
    let next = 0;
    let isPutOff = false;
    while (!isPutOff && next < taken.length && (sizeBytes < WINDOW_BYTES || batch.length === 0)) {
      const row = taken[next];
      next += 1;
      const stanza = row && mayGo(rows, row) ? prepare(rows, row) : 'settled';
      // Later rows to its recipient wait with it: which ones go is for the queue to say anew.
      isPutOff = stanza === 'put off';
      if (!row || typeof stanza === 'string') continue;
      sizeBytes += stanza.text.length;
      batch.push(stanza);
    }
    if (next < taken.length) rows.giveBack(taken.slice(next));
    if (batch.length > 0 && isHolding()) void writeMarked(rows, session, batch);
    else if (batch.length > 0) write(session, batch);
    // All were unfit, or the rest was given back: there may be more behind them.
    if (isPutOff || (batch.length === 0 && taken.length > 0)) pump(rows, session);
  };

  return {
    pump,
    sendAside(session, stanza, onHandled) {
      const sizeBytes = stanza.length;
      inDoubt.push({ row: null, stanzaId: '', to: '', sizeBytes, isReflected: false, onHandled });
      bytesInDoubt += sizeBytes;
      session.send(stanza, 1);
    },
    acknowledge,
    begin(rows, { handledBefore, isResumed }) {
      const since = ((handledBefore ?? handledCount) - handledCount + 2 ** 32) % 2 ** 32;
      // Going back is a claim of nearly 2^32, by a server that cannot count.
      if (since < 2 ** 31) acknowledge(rows, Math.min(since, inDoubt.length));
      handledCount = isResumed ? (handledBefore ?? 0) : 0;
      reflections.renew(Date.now());
      // Without a count, a room may have taken those: it will say so when it is entered again.
      if (handledBefore === null) {
        for (const { row, stanzaId, to, isReflected } of inDoubt)
          if (row && isReflected) reflections.wait(stanzaId, row, to);
        inDoubt = inDoubt.filter(({ isReflected }) => !isReflected);
      }
      // A server that counts says by it what it has not handled.
      giveBack(rows, handledBefore !== null);
    },
    suspect(rows, error) {
      const isCaused = error instanceof ProtocolError && CAUSED_BY_STANZA.has(error.source);
      const doubted = rowsInDoubt();
      const [first, ...others] = doubted;
      if (!isCaused || !first) return;
      if (others.length === 0 && suspects.has(first.id)) {
        suspects.delete(first.id);
        forget();
        log.warn({ row: first.id, reason: error.message }, 'row failed');
        rows.settle(first, { state: 'failed', info: error.message, stanzaId: null });
        return;
      }
      suspects = new Set(doubted.map(({ id }) => id));
    },
    giveBack(rows) {
      giveBack(rows, false);
      giveUp(
        rows,
        reflections.takeTo(() => true),
      );
    },
    reflect(rows, stanzaId) {
      const row = takeWaiting(stanzaId);
      if (!row) {
        reflections.noteShown(stanzaId);
        return;
      }
      log.debug({ row: row.id }, 'row sent');
      // Already so in the table; but the queue must not take it from a page that it read before.
      rows.settle(row, { state: 'submitted', info: null, stanzaId });
    },
    dismiss(rows, stanzaId, from) {
      const sent = inDoubt.find((other) => other.stanzaId === stanzaId);
      const to = reflections.recipientOf(stanzaId) ?? sent?.to;
      if (to === undefined || readBareJid(from) !== readBareJid(to)) return;
      const row = takeWaiting(stanzaId);
      if (row) rows.forget(row);
    },
    skip(rowIds) {
      for (const id of rowIds) skipped.add(id);
    },
    abandon(rows, roomJid) {
      giveUp(
        rows,
        reflections.takeTo((to) => readBareJid(to) === roomJid),
      );
    },
    async settled(timeoutMs) {
      isEnding = true;
      const giveUpAt = Date.now() + timeoutMs;
      while (
        (isMarking || rowsInDoubt().length + reflections.count() > 0) &&
        Date.now() < giveUpAt
      ) {
        await new Promise((done) => setTimeout(done, SETTLE_POLL_MS));
      }
    },
  };
};
