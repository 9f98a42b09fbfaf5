/** Who is available to an account, and to whom it shows itself besides its contacts. */
import { errorText } from '../../errors.ts';
import { formatJid, parseJid } from '../../xmpp/wire/jid.ts';
import { formatDirectedPresence, formatDirectedUnavailable } from '../../xmpp/wire/presence.ts';
import type { Line, Part, PartKind, Taken } from '../part.ts';
import { type Address, readNotice } from './stanzas.ts';
import {
  type DirectedRow,
  deletePresence,
  deleteStale,
  failDirected,
  restorePresences,
  selectBehind,
  selectDirected,
  updateDirected,
  upsertPresence,
  type Withdrawn,
  withdrawPresences,
} from './store.ts';

/** How long an account may be away before what it saw is no longer told: a stream may be resumed at once. */
const ABSENCE_MS = 10_000;

/** What is shown to one: the row's own spelling of the JID, and the stanza. */
type Shown = { rowJid: string; stanza: string };

/** @param counts to how many the accounts show presence */
const createPresences = (line: Line, counts: Map<number, number>): Part => {
  const { accountId, db } = line;
  let ownFullJid: string | null = null;
  let isClosed = false;
  let timer: NodeJS.Timeout | null = null;
  /** Rows taken out of the table while the stream may yet go on. */
  let withdrawn: Withdrawn[] = [];
  let isWithdrawn = false;
  const shown = new Map<string, Shown>();
  /** Who did not take it on this stream. */
  const refusals = new Set<string>();

  const clear = () => {
    isWithdrawn = false;
    withdrawn = [];
    line.store({ write: async (client) => void (await withdrawPresences(client, accountId)) });
  };

  const withdraw = () => {
    isWithdrawn = true;
    withdrawn = [];
    line.store({
      async write(client) {
        const rows = await withdrawPresences(client, accountId);
        // A second run finds nothing.
        if (rows.length > 0) withdrawn = rows;
      },
    });
  };

  /** Before anything that the resumed stream brings. */
  const restore = () => {
    if (!isWithdrawn) return;
    isWithdrawn = false;
    line.store({ write: (client) => restorePresences(client, withdrawn) });
  };

  const stopTimer = () => {
    if (timer) clearTimeout(timer);
    timer = null;
  };
  const expectAbsence = () => {
    stopTimer();
    timer = setTimeout(withdraw, ABSENCE_MS);
  };

  const count = () => {
    if (shown.size > 0) counts.set(accountId, shown.size);
    else counts.delete(accountId);
  };

  const receiveGone = (address: Address, error: string | null): Taken => {
    const refused = error === null ? undefined : shown.get(address.jid);
    if (refused) {
      shown.delete(address.jid);
      refusals.add(address.jid);
      count();
    }
    return {
      async write(client) {
        await deletePresence(client, accountId, address);
        if (refused) await failDirected(client, accountId, refused.rowJid, `not taken: ${error}`);
      },
    };
  };

  /** @throws RejectError when the row cannot be honoured */
  const show = (row: DirectedRow, wanted: Set<string>): 'sent' | 'failed' => {
    const jid = formatJid(parseJid(row.jid.trim()));
    if (wanted.has(jid)) throw new Error('another row has the same JID');
    wanted.add(jid);
    if (row.state === 'pending') refusals.delete(jid);
    if (refusals.has(jid)) return 'failed';
    const stanza = formatDirectedPresence(jid, row);
    if (shown.get(jid)?.stanza !== stanza) line.send(stanza);
    shown.set(jid, { rowJid: row.jid, stanza });
    return 'sent';
  };

  const syncDirected = async () => {
    const wanted = new Set<string>();
    const results: Parameters<typeof updateDirected>[2] = [];
    for (const row of await selectDirected(db, accountId)) {
      try {
        const newState = show(row, wanted);
        if (newState === 'sent') results.push({ ...row, newState, info: null });
      } catch (error) {
        results.push({ ...row, newState: 'failed', info: errorText(error) });
      }
    }
    for (const jid of shown.keys()) {
      if (wanted.has(jid)) continue;
      line.send(formatDirectedUnavailable(jid));
      shown.delete(jid);
    }
    count();
    await updateDirected(db, accountId, results);
  };

  const forgetShown = () => {
    shown.clear();
    refusals.clear();
    count();
  };

  // What another daemon has left is kept for a stream that goes on at once, and for no other.
  expectAbsence();
  return {
    async begin() {
      stopTimer();
      forgetShown();
      clear();
    },
    online(isResumed) {
      stopTimer();
      restore();
      ownFullJid = line.fullJid();
      const own = ownFullJid;
      if (!isResumed || own === null) return;
      // Before this was known it may have come again.
      const address = { jid: own, bareJid: line.ownJid() };
      line.store({ write: (client) => deletePresence(client, accountId, address) });
    },
    reintroduced() {
      if (line.account().priority !== null) return;
      // The server has told all that the account is gone, and tells it nothing more.
      forgetShown();
      clear();
    },
    receive(stanza) {
      const notice = readNotice(stanza);
      if (!notice) return null;
      const { jid } = notice.kind === 'gone' ? notice.address : notice.presence;
      if (isClosed || jid === (line.fullJid() ?? ownFullJid)) return {};
      restore();
      if (notice.kind === 'gone') return receiveGone(notice.address, notice.error);
      return { write: (client) => upsertPresence(client, accountId, notice.presence) };
    },
    sync: syncDirected,
    offline: expectAbsence,
    close() {
      isClosed = true;
      stopTimer();
      counts.delete(accountId);
      clear();
    },
  };
};

export const createPresencesKind = (): PartKind => {
  const counts = new Map<number, number>();
  return {
    tables: ['xmpp_directed_presences'],
    async selectBehind(db) {
      await deleteStale(db);
      return selectBehind(db, counts);
    },
    create: (line) => createPresences(line, counts),
  };
};
