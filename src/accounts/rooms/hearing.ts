/**
 * What an account hears in a room: what was said while it was away, out of the room's archive or as the
 * room tells it again, and what is said now. It becomes rows, and what is our own settles theirs.
 */
import { randomBytes } from 'node:crypto';
import type { Element } from '@xmpp/client';
import { RejectError, RetryError } from '../../errors.ts';
import {
  type ArchiveEnd,
  type ArchiveQuery,
  archiveNs,
  formatArchiveQuery,
  readArchiveEnd,
  readArchiveResult,
} from '../../xmpp/wire/archive.ts';
import { type History, readOccupantJid } from '../../xmpp/wire/muc.ts';
import type { Line, Taken } from '../part.ts';
import { type Incoming, readMessage } from '../stanzas.ts';
import { isLevel, type Phase } from './phase.ts';
import { judgeSaid, seenKey } from './said.ts';
import { type Position, selectPosition, selectSeen, upsertPosition } from './store.ts';

/** How far the account has heard, and how it learns what it has missed. */
type Missed = {
  hasArchive: boolean;
  /** Null when it was never here. */
  position: Position | null;
  /** What a room without archive may tell again. */
  seen: ReadonlySet<string> | null;
};

/** How the account stands to the room. */
export type Standing = {
  ownNicks: readonly (string | null)[];
  phase: Phase;
};

const PAGE = 100;
/** By so much two clocks' seconds may differ where the last message was seen. */
const OVERLAP_S = 10;

export const createHearing = (line: Line, jid: string, standing: () => Standing) => {
  const { accountId, db } = line;
  let missed: Missed = { hasArchive: false, position: null, seen: null };
  let isArchiveRefused = false;
  const passedOver: string[] = [];
  /** Told apart from the readings before, so that one that was stopped does not go on. */
  let reading = 0;
  /** The query to the archive that is under way; its results are stored, or only looked at. */
  let query: { id: string; isStored: boolean } | null = null;

  const advance = (archiveId: string | null): Required<Pick<Taken, 'write'>> => ({
    write: (client) => upsertPosition(client, accountId, jid, archiveId),
  });

  const take = (message: Element, incoming: Incoming | null, advanced: Taken): Taken => {
    const { hasArchive, position, seen } = missed;
    const { ownNicks, phase } = standing();
    const heard = judgeSaid(message, incoming, {
      ownNicks,
      isRowId: (id) => line.readRowId(id) !== null,
      seen,
      isNewcomer: phase === 'entered' && position === null && !hasArchive,
    });
    switch (heard.kind) {
      case 'own': {
        const from = message.attrs.from ?? null;
        const report = { kind: 'submitted' as const, id: heard.id, from, error: null, stanza: '' };
        return { ...advanced, report, onStored: () => line.reflect(heard.id) };
      }
      case 'new':
        return { ...advanced, incoming: heard.incoming };
      case 'before':
        passedOver.push(heard.key);
        return advanced;
      case 'nothing':
        return advanced;
      default:
        return heard satisfies never;
    }
  };

  const ask = async (
    isStored: boolean,
    asked: Omit<ArchiveQuery, 'queryId'>,
  ): Promise<ArchiveEnd> => {
    const id = randomBytes(9).toString('base64url');
    query = { id, isStored };
    const payload = formatArchiveQuery({ ...asked, queryId: id });
    const answer = await line.request({ to: jid, type: 'set', payload });
    const end = readArchiveEnd(answer.getChild('fin', archiveNs));
    if (!end) throw new RetryError('the archive of the room does not say how far it has come', 0);
    return end;
  };

  const readPages = async (own: number, from: string | null, since: Date): Promise<void> => {
    let after = from;
    for (;;) {
      const start = after === null ? since : null;
      const { isComplete, page } = await ask(true, { start, page: { max: PAGE, after } });
      if (own !== reading || isComplete || !page?.last || page.last === after) return;
      after = page.last;
    }
  };

  const readSince = async (own: number, { archiveId, secondsAgo }: Position): Promise<void> => {
    const since = new Date(Date.now() - (secondsAgo + OVERLAP_S) * 1_000);
    try {
      await readPages(own, archiveId, since);
    } catch (error) {
      const isGone = error instanceof RejectError && error.condition === 'item-not-found';
      if (!isGone || archiveId === null) throw error;
      // The archive has forgotten the last message that we saw.
      await readPages(own, null, since);
    }
  };

  return {
    /** What there is to catch up on, which counts from `begin`. */
    async look(canAsk: boolean): Promise<Missed> {
      const hasArchive = canAsk && !isArchiveRefused;
      const position = await selectPosition(db, accountId, jid);
      if (!position || hasArchive) return { hasArchive, position, seen: null };
      const known = await selectSeen(db, accountId, jid);
      return { hasArchive, position, seen: new Set([...known.map(seenKey), ...passedOver]) };
    },
    /** @returns what the room is to tell the account when it enters */
    begin(found: Missed): History {
      missed = found;
      if (found.hasArchive) return { maxStanzas: 0 };
      return { seconds: Math.ceil(found.position?.secondsAgo ?? 0) + OVERLAP_S };
    },
    hasArchive: () => missed.hasArchive,
    isNew: () => missed.position === null,
    /**
     * Reads what was said since the account was last here; of a new room, only where its archive ends.
     *
     * @throws RejectError the archive is not for us; RetryError it could not be read to its end
     */
    async catchUp(): Promise<void> {
      const own = reading;
      if (missed.position !== null) return readSince(own, missed.position);
      const { page } = await ask(false, { page: { max: 1, before: '' } });
      line.store(advance(page?.last ?? null));
    },
    /** Its archive is not for us: what the room itself remembers has to do. */
    refuseArchive(): void {
      isArchiveRefused = true;
    },
    allowArchive(): void {
      isArchiveRefused = false;
    },
    /** Nothing is told again any more. */
    end(): void {
      missed = { ...missed, seen: null };
    },
    stop(): void {
      reading += 1;
      query = null;
    },
    advance: () => advance(null),
    /** A message that sets the subject is no row. */
    takeSubject: (message: Element): Taken => take(message, null, {}),
    takeLive(message: Element): Taken {
      const { incoming } = readMessage(message, jid);
      // While what was missed is being read, it says how far the account has come.
      const advanced = isLevel(standing().phase) ? advance(incoming?.archiveId ?? null) : {};
      return take(message, incoming, advanced);
    },
    /** A message out of the room's archive. */
    takeArchived(stanza: Element): Taken {
      const result = readArchiveResult(stanza);
      if (!result || !query?.isStored || result.queryId !== query.id) return {};
      const { message, id, archivedAt } = result;
      if (readOccupantJid(message.attrs.from)?.room !== jid) {
        line.distrust(stanza, 'a message of another in the archive of a room');
        return {};
      }
      if (message.attrs.type !== 'groupchat') return advance(id);
      const { incoming } = readMessage(message, jid);
      const dated = incoming && { ...incoming, archiveId: id, delayedAt: archivedAt };
      return take(message, dated, advance(id));
    },
  };
};
