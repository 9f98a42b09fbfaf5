/**
 * What an account must not miss: copies of what its other clients send and receive, what came while it
 * was away, and whether what it has sent itself has arrived.
 *
 * The archive is asked after the presence: Prosody keeps its offline store from a client that has asked
 * before, and what is only there would never come. So that rows stand in the order of the archive, what
 * comes meanwhile and is in the archive, too, is put aside until the archive has been read.
 */
import { randomBytes } from 'node:crypto';
import type { Element } from '@xmpp/client';
import { errorText, RejectError, RetryError } from '../../errors.ts';
import {
  type ArchiveEnd,
  type ArchiveQuery,
  type ArchiveResult,
  archiveNs,
  formatArchiveQuery,
  readArchiveEnd,
} from '../../xmpp/wire/archive.ts';
import { discoInfoNs, formatDiscoInfoQuery, readDiscoInfo } from '../../xmpp/wire/disco.ts';
import { parseJid } from '../../xmpp/wire/jid.ts';
import type { KindParts, Line, Part, PartKind, Taken } from '../part.ts';
import { type Archived, type Incoming, readMessage } from '../stanzas.ts';
import {
  type Forged,
  isOfflineCopy,
  NS_CARBONS,
  readArchiveCopy,
  readCarbon,
  readCarbonCopy,
  readResult,
  readSentId,
} from './copy.ts';
import {
  type Arrived,
  type Cursor,
  insertCursor,
  selectCursor,
  selectOldestUnsettled,
  settleArrived,
} from './store.ts';
import { createTwins } from './twins.ts';

const PAGE_ROWS = 100;
const ASK_MS = 5_000;
const RETRY_MS = 30_000;
/** Messages put aside at most; the order of what is beyond is that of its arrival. */
const ASIDE_MAX = 1_000;
/** Rows of an account that may be in doubt, as the outbox has it. */
const DOUBTED_ROWS = 400;
/** Messages to look through for them. */
const SEARCH_MAX = 10_000;
/** What the clocks of the server and of the database may differ by. */
const SKEW_MS = 600_000;
/** Rows sent after which the cursor is moved on, lest the next login reads them all. */
const SENT_MAX = 100;
/** What the archive had then has come by now, too, if it was to come. */
const SETTLED_MS = 30_000;

/** How long an offline store takes to be flushed, after the archive was read. */
const TWINS_MS = 60_000;

/** What the server can do. */
type Offers = { carbons: boolean; archive: boolean };

const createArchivePart = (line: Line, epochs: () => ReadonlyMap<number, number>): Part => {
  const { db, log, accountId } = line;
  const queries = new Map<string, (result: ArchiveResult) => Taken>();
  const fromArchive = createTwins();
  const fromOfflineStore = createTwins();
  let offers: Offers | null = null;
  let hasCarbons = false;
  /** Whether all that the archive has is here, so that what comes live is what follows. */
  let isLevel = false;
  let isPuttingAside = false;
  const aside: Element[] = [];
  /** Whether rows of a lost stream may have arrived; and when the stream was lost that may yet go on. */
  let isDoubtful = true;
  let wasDoubtful = true;
  let timer: NodeJS.Timeout | null = null;
  let isOnline = false;
  /** Counts the streams that were no resumption. */
  let stream = 0;
  /** Rows sent since the cursor was moved, and messages that have moved it. */
  let sentCount = 0;
  let movedCount = 0;
  let cursorTimer: NodeJS.Timeout | null = null;
  let twinTimer: NodeJS.Timeout | null = null;

  const reader = () => ({
    ownJid: line.ownJid(),
    isRowId: (id: string) => line.readRowId(id) !== null,
  });

  const release = () => {
    isPuttingAside = false;
    for (const stanza of aside.splice(0)) line.replay(stanza);
  };

  const discover = async (to: string): Promise<string[]> => {
    try {
      const payload = formatDiscoInfoQuery(null);
      const answer = await line.request({ to, type: 'get', payload, timeoutMs: ASK_MS });
      return readDiscoInfo(answer.getChild('query', discoInfoNs))?.features ?? [];
    } catch (error) {
      if (error instanceof RejectError) return [];
      throw error;
    }
  };

  const learnOffers = async (): Promise<Offers> => {
    const own = line.ownJid();
    const [server, account] = await Promise.all([discover(parseJid(own).domain), discover(own)]);
    const found = { carbons: server.includes(NS_CARBONS), archive: account.includes(archiveNs) };
    log.debug(found, 'what the server offers besides');
    return found;
  };

  const enableCarbons = async () => {
    try {
      const payload = `<enable xmlns='${NS_CARBONS}'/>`;
      await line.request({ to: null, type: 'set', payload, timeoutMs: ASK_MS });
    } catch (error) {
      if (!(error instanceof RejectError)) throw error;
      log.debug({ reason: errorText(error) }, 'no carbons');
    }
    hasCarbons = true;
  };

  /** An account without presence sends and does not want to receive. */
  const receives = () => line.account().priority !== null;

  const prepare = async () => {
    offers ??= await learnOffers();
    if (offers.carbons && !hasCarbons && receives()) await enableCarbons();
  };

  const ask = async (
    query: Omit<ArchiveQuery, 'queryId'>,
    onResult: (result: ArchiveResult) => Taken,
  ): Promise<ArchiveEnd> => {
    const queryId = randomBytes(9).toString('base64url');
    queries.set(queryId, onResult);
    try {
      const payload = formatArchiveQuery({ ...query, queryId });
      const answer = await line.request({ to: null, type: 'set', payload });
      const end = readArchiveEnd(answer.getChild('fin', archiveNs));
      if (!end) throw new RetryError('the archive did not say how the query ended', RETRY_MS);
      queries.delete(queryId);
      return end;
    } catch (error) {
      // Results may be on their way still.
      queries.set(queryId, () => ({}));
      throw error;
    }
  };

  const selectLast = () => ask({ page: { max: 1, before: '' } }, () => ({}));

  const storeResult = (result: ArchiveResult): Taken => {
    const { incoming, report } = readArchiveCopy(result, reader());
    const isHere = incoming !== null && fromOfflineStore.take(incoming);
    if (incoming && !isHere) fromArchive.add(incoming);
    return {
      ...(incoming && !isHere && { incoming }),
      ...(report && { report }),
      archived: { id: result.id, at: result.archivedAt },
    };
  };

  /** The next page, and the next ones by time when the archive has forgotten the cursor. */
  const readOn = async ({ archiveId, readAtMs }: Cursor) => {
    let after = archiveId;
    let start: Date | null = null;
    for (;;) {
      const page = { max: PAGE_ROWS, after };
      const end: ArchiveEnd | null = await ask({ start, page }, storeResult).catch(
        (error: unknown) => {
          const isForgotten = error instanceof RejectError && error.condition === 'item-not-found';
          if (isForgotten && start === null && after !== null) return null;
          throw error;
        },
      );
      if (end === null) {
        start = new Date(readAtMs - SKEW_MS);
        after = null;
        log.info({ start }, 'the archive does not know its last message any more, read by time');
        continue;
      }
      const last: string | null = end.page?.last ?? null;
      if (end.isComplete || last === null || last === after) return;
      after = last;
    }
  };

  const forgetTwins = () => {
    if (twinTimer) clearTimeout(twinTimer);
    twinTimer = null;
    fromArchive.clear();
    fromOfflineStore.clear();
  };

  const catchUp = async () => {
    const jid = line.ownJid();
    const cursor = await selectCursor(db, accountId, jid);
    if (cursor === null) {
      // Of what was before the first login only the offline store is of interest.
      const { page } = await selectLast();
      const last = page?.last ?? null;
      line.store({ write: (client) => insertCursor(client, accountId, jid, last) });
    } else {
      isPuttingAside = true;
      await readOn(cursor);
    }
    isLevel = true;
    twinTimer ??= setTimeout(forgetTwins, TWINS_MS).unref();
  };

  /** Settles rows that the archive has, of those that a lost stream may have left. */
  const clearDoubts = async () => {
    const oldestMs = await selectOldestUnsettled(db, accountId);
    if (oldestMs !== null) {
      const arrived = await findArrived(oldestMs - SKEW_MS);
      const settled =
        arrived.length === 0 ? [] : await settleArrived(db, accountId, arrived, epochs());
      if (settled.length > 0) log.info({ rows: settled.length }, 'rows found in the archive');
      line.dismiss(settled);
    }
  };

  const findArrived = async (sinceMs: number): Promise<Arrived[]> => {
    const found = new Map<number, Arrived>();
    let before = '';
    let count = 0;
    let oldestMs = Number.POSITIVE_INFINITY;
    const look = ({ message, archivedAt }: ArchiveResult): Taken => {
      count += 1;
      if (archivedAt) oldestMs = Math.min(oldestMs, archivedAt.getTime());
      const stanzaId = readSentId(message, line.ownJid());
      const key = stanzaId === null ? null : line.readRowId(stanzaId);
      if (key && stanzaId !== null) found.set(key.id, { ...key, stanzaId });
      return {};
    };
    for (;;) {
      const end = await ask({ page: { max: PAGE_ROWS, before } }, look);
      const first = end.page?.first ?? null;
      const isEnough = found.size >= DOUBTED_ROWS || oldestMs < sinceMs;
      if (end.isComplete || isEnough || first === null || first === before) break;
      if (count >= SEARCH_MAX) {
        log.warn({ messages: count }, 'the archive was not searched to the end for sent rows');
        break;
      }
      before = first;
    }
    return [...found.values()];
  };

  const hasArchive = () => offers?.archive === true;
  const isBehind = () => hasArchive() && receives() && !isLevel;

  const mustAsk = () => isDoubtful && line.account().onUncertain === 'archive';

  const settleDoubts = async () => {
    if (mustAsk() && hasArchive()) {
      try {
        await clearDoubts();
      } catch (error) {
        if (!(error instanceof RejectError)) throw error;
        log.warn({ reason: errorText(error) }, 'the archive cannot be asked for sent rows');
      }
    } else if (mustAsk()) log.warn('there is no archive to ask for sent rows');
    isDoubtful = false;
    line.proceed();
  };

  const work = async () => {
    await prepare();
    await settleDoubts();
    if (!isBehind()) return;
    await catchUp();
    release();
  };

  const later = () => {
    if (timer || !isOnline) return;
    timer = setTimeout(() => {
      timer = null;
      runAgain();
    }, RETRY_MS);
  };

  let running: Promise<void> | null = null;
  const workOff = async () => {
    let own: number;
    do {
      own = stream;
      await work().catch((error: unknown) => {
        if (own === stream) release();
        later();
        throw error;
      });
      // Another stream has begun meanwhile, with doubts of its own.
    } while (isOnline && own !== stream);
  };
  const run = (): Promise<void> => {
    running ??= workOff().finally(() => {
      running = null;
    });
    return running;
  };

  /** What we send does not come back, so nothing else moves the cursor of an account that only sends. */
  const moveCursor = async () => {
    const moved = movedCount;
    const { page } = await selectLast();
    const last = page?.last;
    if (!last || !isOnline) return;
    cursorTimer = setTimeout(() => {
      cursorTimer = null;
      if (isLevel && moved === movedCount) line.store({ archived: { id: last, at: null } });
    }, SETTLED_MS);
  };

  const noteSent = () => {
    sentCount += 1;
    if (sentCount < SENT_MAX || cursorTimer || !isLevel) return;
    sentCount = 0;
    cursorTimer = setTimeout(() => {
      cursorTimer = null;
      moveCursor().catch((error: unknown) =>
        log.debug({ reason: errorText(error) }, 'cursor not moved'),
      );
    }, SETTLED_MS);
  };

  const stopTimers = () => {
    for (const each of [timer, cursorTimer]) if (each) clearTimeout(each);
    timer = cursorTimer = null;
  };

  const distrust = (stanza: Element, { claim }: Forged): Taken => {
    line.distrust(stanza, claim);
    return {};
  };

  const receiveResult = (result: ArchiveResult): Taken =>
    queries.get(result.queryId ?? '')?.(result) ?? {};

  /** @returns whether it is in the archive, too, and is to wait for its turn */
  const putAside = (stanza: Element, message: Element): boolean => {
    if (!isPuttingAside || aside.length >= ASIDE_MAX) return false;
    const { incoming } = readMessage(message, line.ownJid());
    if (!incoming || incoming.archiveId === null) return false;
    aside.push(stanza);
    return true;
  };

  /** Of an offline store that does not say archive ids: whether the archive has brought it. */
  const isTwin = (stanza: Element): boolean => {
    const isWindow = isPuttingAside || twinTimer !== null;
    if (!isWindow || !isOfflineCopy(stanza, line.ownJid())) return false;
    const { incoming } = readMessage(stanza, line.ownJid());
    if (!incoming || incoming.archiveId !== null) return false;
    if (fromArchive.take(incoming)) return true;
    fromOfflineStore.add(incoming);
    return false;
  };

  const follow = ({ archiveId, delayedAt }: Incoming): Archived | null => {
    // What was held back is older than what the archive was read to.
    if (!isLevel || archiveId === null || delayedAt !== null) return null;
    movedCount += 1;
    return { id: archiveId, at: null };
  };

  const runAgain = () => {
    run().catch((error: unknown) => log.debug({ reason: errorText(error) }, 'not caught up'));
  };

  return {
    async begin() {
      release();
      stream += 1;
      offers = null;
      hasCarbons = false;
      isLevel = false;
      isPuttingAside = true;
      wasDoubtful = true;
      queries.clear();
      forgetTwins();
      try {
        await prepare();
        if (!hasArchive()) {
          log.debug('the server keeps no archive: what comes while away is its offline store');
        }
      } finally {
        if (!isBehind()) release();
      }
    },
    online(isResumed) {
      isOnline = true;
      if (isResumed && !wasDoubtful) isDoubtful = false;
    },
    reintroduced: runAgain,
    sync: run,
    admit: noteSent,
    follow,
    holdsRows: mustAsk,
    offline() {
      if (isOnline) wasDoubtful = isDoubtful;
      isOnline = false;
      isDoubtful = true;
      stopTimers();
    },
    close() {
      stopTimers();
      forgetTwins();
    },
    receive(stanza) {
      if (stanza.name !== 'message') return null;
      const ownJid = line.ownJid();
      const result = readResult(stanza, ownJid, (queryId) => queries.has(queryId));
      if (result && 'claim' in result) return distrust(stanza, result);
      if (result) return receiveResult(result);
      const carbon = readCarbon(stanza, ownJid);
      if (carbon && 'claim' in carbon) return distrust(stanza, carbon);
      if (putAside(stanza, carbon?.message ?? stanza)) return {};
      if (!carbon) return isTwin(stanza) ? {} : null;
      const { incoming, report } = readCarbonCopy(carbon, reader());
      const archived = incoming && follow(incoming);
      return {
        ...(incoming && { incoming }),
        ...(report && { report }),
        ...(archived && { archived }),
      };
    },
  };
};

export const createArchiveKind = ({ ownership }: KindParts): PartKind => ({
  tables: [],
  // The rows are observed: nobody's wish is behind them.
  selectBehind: async () => [],
  create: (line) => createArchivePart(line, () => ownership.epochs('xmpp')),
});
