/**
 * Rows on the wire and not yet acknowledged, in the order sent. The window is small, so that few rows
 * are in doubt when a connection is lost; servers that throttle get no more than they take.
 */
import type { Link as QueueLink } from '../db/queue.ts';
import { errorText, ProtocolError, RejectError, RetryError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Session } from '../xmpp/session.ts';
import type { TxRow } from './link.ts';
import { buildMessage } from './stanzas.ts';

/** Rows in doubt at most. */
const WINDOW_ROWS = 100;
/** Rows at most that a crash would send again: in doubt, or acknowledged and not yet settled in the table. */
const REPEATED_ROWS = 400;
/** Bytes on the way at most, or one row: what a throttled server swallows would look dead. */
const WINDOW_BYTES = 32_768;
const SETTLE_POLL_MS = 10;
/** For a room to show a message to all, which the sender is among. */
const REFLECTION_MS = 60_000;

/** A stanza on the wire; one without a row is an answer or presence, which nobody waits for. */
type Sent = { row: TxRow | null; stanzaId: string; sizeBytes: number; isReflected: boolean };

export type Outbox = {
  /** Sends as many rows as the window allows. */
  pump(rows: QueueLink<TxRow>, session: Session): void;
  /** A stanza that is no row. */
  sendAside(session: Session, stanza: string): void;
  acknowledge(rows: QueueLink<TxRow>, count: number): void;
  /** A session has begun: what is in doubt was handled before, or is to be sent again. */
  begin(rows: QueueLink<TxRow>, session: Pick<Session, 'handledBefore' | 'isResumed'>): void;
  /** The session ended by `error` with rows in doubt; one of them may be why. */
  suspect(rows: QueueLink<TxRow>, error: Error): void;
  giveBack(rows: QueueLink<TxRow>): void;
  /** A room has shown the message to all: only now it is certain that it took it (XEP-0045 §7.4). */
  reflect(rows: QueueLink<TxRow>, stanzaId: string): void;
  /** The message came back as an error, which is told elsewhere. */
  dismiss(rows: QueueLink<TxRow>, stanzaId: string): void;
  /** No reflection is to be expected any more: the rows are sent again. */
  abandon(rows: QueueLink<TxRow>, isMatch: (row: TxRow) => boolean): void;
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

type Parts = {
  describe(row: TxRow): { id: string; maxBytes: number };
  /** @throws RetryError the row cannot go yet; RejectError it never can */
  admit(row: TxRow, to: string, type: string): void;
  log: Log;
};

export const createOutbox = ({ describe, admit, log }: Parts): Outbox => {
  let inDoubt: Sent[] = [];
  let bytesInDoubt = 0;
  let isEnding = false;
  /** Stanzas sent on this stream and acknowledged, modulo 2^32: says what a resumed stream missed. */
  let handledCount = 0;
  /** Rows that were in doubt when a stream error came: they are sent one by one. */
  let suspects = new Set<number>();
  /** Rows that the server has and their room has not shown yet, by stanza id, oldest first. */
  const unreflected = new Map<string, { row: TxRow; since: number }>();

  const forget = (): Sent[] => {
    const sent = inDoubt;
    inDoubt = [];
    bytesInDoubt = 0;
    return sent;
  };

  const rowsInDoubt = (): TxRow[] => inDoubt.flatMap(({ row }) => row ?? []);

  const abandon = (rows: QueueLink<TxRow>, isMatch: (row: TxRow) => boolean) => {
    for (const [stanzaId, { row }] of unreflected) {
      if (!isMatch(row)) continue;
      unreflected.delete(stanzaId);
      rows.giveBack([row]);
    }
  };

  const giveBack = (rows: QueueLink<TxRow>) => {
    const back = rowsInDoubt();
    forget();
    rows.giveBack(back);
  };

  const awaitReflection = (row: TxRow, stanzaId: string) =>
    unreflected.set(stanzaId, { row, since: Date.now() });

  const retryUnreflected = (rows: QueueLink<TxRow>) => {
    const limit = Date.now() - REFLECTION_MS;
    for (const [stanzaId, { row, since }] of unreflected) {
      if (since > limit) return;
      unreflected.delete(stanzaId);
      rows.putOff(row, 0, 'the room has not shown the message');
    }
  };

  const acknowledge = (rows: QueueLink<TxRow>, count: number) => {
    handledCount = (handledCount + count) % 2 ** 32;
    for (const { row, stanzaId, sizeBytes, isReflected } of inDoubt.splice(0, count)) {
      bytesInDoubt -= sizeBytes;
      if (!row) continue;
      suspects.delete(row.id);
      if (isReflected) {
        awaitReflection(row, stanzaId);
        continue;
      }
      log.debug({ row: row.id }, 'row sent');
      rows.settle(row, { state: 'submitted', info: null, stanzaId });
    }
  };

  /** @returns the stanza, or null when the row cannot go and has been put off or settled */
  const prepare = (
    rows: QueueLink<TxRow>,
    row: TxRow,
  ): { text: string; stanzaId: string; isReflected: boolean } | null => {
    try {
      const { id, maxBytes } = describe(row);
      const { text, to, type } = buildMessage(row, id, maxBytes);
      admit(row, to, type);
      return { text, stanzaId: id, isReflected: type === 'groupchat' };
    } catch (error) {
      if (error instanceof RetryError) {
        rows.putOff(row, error.afterMs, errorText(error));
        return null;
      }
      const isVerdict = error instanceof RejectError;
      if (!isVerdict) log.error({ err: error, row: row.id }, 'internal error');
      const info = isVerdict ? `${error.condition}: ${errorText(error)}` : 'internal error';
      log.info({ row: row.id, reason: info }, 'row failed');
      rows.settle(row, { state: 'failed', info, stanzaId: null });
      return null;
    }
  };

  const room = (rows: QueueLink<TxRow>): number => {
    if (isEnding) return 0;
    if (suspects.size > 0) return inDoubt.length === 0 ? 1 : 0;
    if (bytesInDoubt >= WINDOW_BYTES) return 0;
    const unsettled = rows.unsettled() + unreflected.size;
    return Math.min(WINDOW_ROWS, REPEATED_ROWS - unsettled) - inDoubt.length;
  };

  const pump = (rows: QueueLink<TxRow>, session: Session) => {
    if (unreflected.size > 0) retryUnreflected(rows);
    const free = room(rows);
    // Refilled by halves, so that writes stay large.
    if (free < 1 || (suspects.size === 0 && free < WINDOW_ROWS / 2)) return;
    const taken = rows.take(free);
    let text = '';
    let count = 0;
    let next = 0;
    while (next < taken.length && (bytesInDoubt < WINDOW_BYTES || count === 0)) {
      const row = taken[next];
      next += 1;
      const stanza = row ? prepare(rows, row) : null;
      if (!row || !stanza) continue;
      text += stanza.text;
      count += 1;
      bytesInDoubt += stanza.text.length;
      const { stanzaId, isReflected } = stanza;
      inDoubt.push({ row, stanzaId, sizeBytes: stanza.text.length, isReflected });
    }
    if (next < taken.length) rows.giveBack(taken.slice(next));
    if (count > 0) session.send(text, count);
    // All were unfit: there may be more behind them.
    else if (taken.length > 0) pump(rows, session);
  };

  return {
    pump,
    sendAside(session, stanza) {
      inDoubt.push({ row: null, stanzaId: '', sizeBytes: stanza.length, isReflected: false });
      bytesInDoubt += stanza.length;
      session.send(stanza, 1);
    },
    acknowledge,
    begin(rows, { handledBefore, isResumed }) {
      const since = ((handledBefore ?? handledCount) - handledCount + 2 ** 32) % 2 ** 32;
      // Going back is a claim of nearly 2^32, by a server that cannot count.
      if (since < 2 ** 31) acknowledge(rows, Math.min(since, inDoubt.length));
      handledCount = isResumed ? (handledBefore ?? 0) : 0;
      // A room may have taken those, and will say so when it is entered again.
      for (const { row, stanzaId, isReflected } of inDoubt) {
        if (row && isReflected) awaitReflection(row, stanzaId);
      }
      inDoubt = inDoubt.filter(({ isReflected }) => !isReflected);
      giveBack(rows);
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
      giveBack(rows);
      abandon(rows, () => true);
    },
    reflect(rows, stanzaId) {
      const shown = unreflected.get(stanzaId);
      if (!shown) return;
      unreflected.delete(stanzaId);
      log.debug({ row: shown.row.id }, 'row sent');
      rows.settle(shown.row, { state: 'submitted', info: null, stanzaId });
    },
    dismiss(rows, stanzaId) {
      const shown = unreflected.get(stanzaId);
      unreflected.delete(stanzaId);
      if (shown) rows.forget(shown.row);
    },
    abandon,
    async settled(timeoutMs) {
      isEnding = true;
      const giveUpAt = Date.now() + timeoutMs;
      while (rowsInDoubt().length > 0 && Date.now() < giveUpAt) {
        await new Promise((done) => setTimeout(done, SETTLE_POLL_MS));
      }
    },
  };
};
