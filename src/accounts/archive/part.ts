/**
 * What an account must not miss: copies of what its other clients send and receive, what came while it
 * was away, and whether what it has sent itself has arrived.
 *
 * The archive is asked after the presence: Prosody keeps its offline store from a client that has asked
 * before, and what is only there would never come. So that rows stand in the order of the archive, what
 * comes meanwhile and is in the archive, too, is put aside until the archive has been read.
 */
import type { Element } from '@xmpp/client';
import { errorText, RejectError } from '../../errors.ts';
import { type ArchiveResult, archiveNs } from '../../xmpp/wire/archive.ts';
import { discoInfoNs, formatDiscoInfoQuery, readDiscoInfo } from '../../xmpp/wire/disco.ts';
import { parseJid } from '../../xmpp/wire/jid.ts';
import type { KindParts, Line, Part, PartKind, Taken } from '../part.ts';
import { type Archived, type Incoming, readMessage } from '../stanzas.ts';
import {
  type Forged,
  NS_CARBONS,
  readArchiveCopy,
  readCarbon,
  readCarbonCopy,
  readResult,
  readSentId,
} from './copy.ts';
import { readBack, readOn, SKEW_MS } from './pages.ts';
import { createQueries, RETRY_MS } from './queries.ts';
import { createSentCursor } from './sentCursor.ts';
import {
  type Arrived,
  insertCursor,
  selectCursor,
  selectOldestUnsettled,
  settleArrived,
} from './store.ts';

const ASK_MS = 5_000;
/** Messages put aside at most; the order of what is beyond is that of its arrival. */
const ASIDE_MAX = 1_000;
/** Rows of an account that may be in doubt, as the outbox has it. */
const DOUBTED_ROWS = 400;
/** What the server can do. */
type Offers = { carbons: boolean; archive: boolean };

const createArchivePart = (line: Line, epochs: () => ReadonlyMap<number, number>): Part => {
  const { db, log, accountId } = line;
  const queries = createQueries(line);
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
  const sentCursor = createSentCursor(line, queries, () => isLevel);

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

  const storeResult = (result: ArchiveResult): Taken => {
    const { incoming, report } = readArchiveCopy(result, reader());
    return {
      ...(incoming && { incoming }),
      ...(report && { report }),
      archived: { id: result.id, at: result.archivedAt },
    };
  };

  const catchUp = async () => {
    const jid = line.ownJid();
    const cursor = await selectCursor(db, accountId, jid);
    if (cursor === null) {
      // Of what was before the first login only the offline store is of interest.
      const last = await queries.askLast();
      line.store({ write: (client) => insertCursor(client, accountId, jid, last) });
    } else {
      isPuttingAside = true;
      await readOn({ queries, log }, cursor, storeResult);
    }
    isLevel = true;
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
    const isEnough = () => found.size >= DOUBTED_ROWS;
    await readBack({ queries, log }, sinceMs, isEnough, ({ message }) => {
      const stanzaId = readSentId(message, line.ownJid());
      const key = stanzaId === null ? null : line.readRowId(stanzaId);
      if (key && stanzaId !== null) found.set(key.id, { ...key, stanzaId });
    });
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

  const stopTimers = () => {
    if (timer) clearTimeout(timer);
    timer = null;
    sentCursor.stop();
  };

  const distrust = (stanza: Element, { claim }: Forged): Taken => {
    line.distrust(stanza, claim);
    return {};
  };

  /** @returns whether it is in the archive, too, and is to wait for its turn */
  const putAside = (stanza: Element, message: Element): boolean => {
    if (!isPuttingAside || aside.length >= ASIDE_MAX) return false;
    const { incoming } = readMessage(message, line.ownJid());
    if (!incoming || incoming.archiveId === null) return false;
    aside.push(stanza);
    return true;
  };

  const follow = ({ archiveId, delayedAt }: Incoming): Archived | null => {
    // What was held back is older than what the archive was read to.
    if (!isLevel || archiveId === null || delayedAt !== null) return null;
    sentCursor.noteMoved();
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
    admit: sentCursor.noteSent,
    follow,
    holdsRows: mustAsk,
    offline() {
      if (isOnline) wasDoubtful = isDoubtful;
      isOnline = false;
      isDoubtful = true;
      stopTimers();
    },
    close: stopTimers,
    receive(stanza) {
      if (stanza.name !== 'message') return null;
      const ownJid = line.ownJid();
      const result = readResult(stanza, ownJid, queries.isAsked);
      if (result && 'claim' in result) return distrust(stanza, result);
      if (result) return queries.receive(result);
      const carbon = readCarbon(stanza, ownJid);
      if (carbon && 'claim' in carbon) return distrust(stanza, carbon);
      if (putAside(stanza, carbon?.message ?? stanza)) return {};
      if (!carbon) return null;
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
