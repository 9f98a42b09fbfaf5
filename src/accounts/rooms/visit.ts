/**
 * One room that an account is in, or tries to be, over all its streams: it is entered, left and looked
 * after; what is said in it becomes rows, and what it shows of our own messages settles theirs.
 */
import { randomBytes } from 'node:crypto';
import type { Element } from '@xmpp/client';
import type pg from 'pg';
import { errorText, RejectError, RetryError } from '../../errors.ts';
import {
  type ArchiveEnd,
  archiveNs,
  formatArchiveQuery,
  readArchiveEnd,
  readArchiveResult,
} from '../../xmpp/wire/archive.ts';
import { discoInfoNs, formatDiscoInfoQuery, readDiscoInfo } from '../../xmpp/wire/disco.ts';
import { formatPing } from '../../xmpp/wire/entity.ts';
import { readStanzaError } from '../../xmpp/wire/error.ts';
import { parseJid, readBareJid } from '../../xmpp/wire/jid.ts';
import {
  formatInstantRoom,
  formatJoin,
  readOccupantJid,
  readRoomPresence,
} from '../../xmpp/wire/muc.ts';
import { formatDirectedPresence, formatDirectedUnavailable } from '../../xmpp/wire/presence.ts';
import type { TxRow } from '../link.ts';
import type { Line, PartTiming, Taken } from '../part.ts';
import { type Incoming, readMessage } from '../stanzas.ts';
import { changeRoom, decideRetryMs, type Occupant, type Setback } from './changeRoom.ts';
import { type RoomMessage, readRoomMessage } from './stanzas.ts';
import {
  deleteOccupant,
  deletePosition,
  type Position,
  type RoomRow,
  type RoomState,
  selectPosition,
  selectSeen,
  updateAbsent,
  updateJoined,
  updateOccupantNick,
  updateOccupants,
  updateSubject,
  upsertOccupant,
  upsertPosition,
} from './store.ts';

/**
 * `away`: not tried on this stream; `asking`: what kind of address it is; `entered`: in, what was missed is
 * being read; `checking`: the stream went on, and the room is asked whether it still knows us.
 */
type Phase =
  | 'away'
  | 'asking'
  | 'joining'
  | 'entered'
  | 'joined'
  | 'checking'
  | 'backoff'
  | 'refused'
  | 'left';

export type Visit = {
  id: number;
  /** In its normal form. */
  jid: string;
  isIn(): boolean;
  /** Acts on what the row wants. */
  want(row: RoomRow): void;
  /** Takes up what a daemon that is gone has left, on its stream. */
  adopt(): void;
  /** @throws RetryError nothing can be sent there yet; RejectError nor will it be */
  admit(): void;
  /** The stream is lost; it may go on. */
  suspend(): void;
  /** A stream is there again: the same, or a new one on which no room knows us. */
  resume(isSame: boolean): void;
  /** Shows the account's presence as it is now. */
  introduce(): void;
  takePresence(stanza: Element): Taken;
  /** @returns null for a message that is not to all */
  takeMessage(stanza: Element): Taken | null;
  /** The row is gone: so is what is known of the room. */
  forget(): void;
  close(): void;
};

const JOIN_MS = 60_000;
const SUBJECT_MS = 15_000;
const PING_MS = 30_000;
const SILENCE_MS = 600_000;
const RETRY_MS = 1_000;
const STABLE_MS = 60_000;
const WAIT_MS = 30_000;
/** Tries in which our own last session may be what holds the nick. */
const GHOST_TRIES = 6;
const PAGE = 100;
/** By so much two clocks' seconds may differ where the last message was seen. */
const OVERLAP_S = 10;

/** Errors of an occupant's own ping that do not say that the account is out (XEP-0410 §3.2). */
const STILL_IN = ['service-unavailable', 'feature-not-implemented', 'item-not-found'];
/** Answers to the question what an address is that leave no hope of a room. */
const NO_ROOM = [
  'jid-malformed',
  'no-room',
  'remote-server-not-found',
  'remote-server-timeout',
  'service-unavailable',
  // A person's, who does not know us.
  'subscription-required',
];

const seenKey = (from: string | null, id: string | null, body: string | null): string =>
  `${from} ${id} ${body}`;

export const createVisit = (line: Line, jid: string, first: RoomRow, timing: PartTiming): Visit => {
  const { accountId } = line;
  const silenceMs = timing.roomSilenceMs ?? SILENCE_MS;
  const retryMs = timing.roomRetryMs ?? RETRY_MS;
  let row = first;
  let phase: Phase = 'away';
  let isSuspended = false;
  /** Told apart from the ones before, so that what is late changes nothing. */
  let attempt = 0;
  let nick = first.ownNick ?? '';
  let askedNick = nick;
  /** Under which our messages were shown before. */
  let formerNick = first.ownNick;
  let why = first.stateInfo ?? '';
  let failures = 0;
  let joinedAt = 0;
  let heardAt = 0;
  let hasArchive = false;
  let isArchiveRefused = false;
  let position: Position | null = null;
  /** What a room without ids may tell again. */
  let seen: Set<string> | null = null;
  /** What such a room said just before the account was first in it; told again, it is as old as before. */
  const passedOver: string[] = [];
  /** The query to the archive that is under way; its results are stored, or only looked at. */
  let query: { id: string; isStored: boolean } | null = null;
  let timer: NodeJS.Timeout | null = null;

  const address = () => `${jid}/${nick}`;
  const isIn = () => phase === 'entered' || phase === 'joined' || phase === 'checking';
  const isToRoom = (sent: TxRow): boolean => {
    if (sent.messageStanza !== null) return true;
    return readBareJid(sent.messageTo) === jid;
  };
  const availability = () => {
    const { show, status } = line.account();
    return { show, status };
  };
  const wantedNick = (): string => {
    const text = row.nick ?? parseJid(line.ownJid()).local ?? 'rowgram';
    return parseJid(`${jid}/${text}`).resource ?? text;
  };

  const rest = (ms: number, act: () => void) => {
    if (timer) clearTimeout(timer);
    timer = setTimeout(act, ms);
  };
  const stop = () => {
    if (timer) clearTimeout(timer);
    timer = null;
  };

  const tellAbsent = (state: RoomState): Taken => ({
    write: (client) => updateAbsent(client, row.id, state),
    onStored() {
      // What waited for the room is judged anew.
      if (state.state !== 'refused') return;
      line.abandon(jid);
      line.hasten(isToRoom);
    },
  });

  const out = ({ mayPass, info }: Setback): Taken => {
    attempt += 1;
    stop();
    if (joinedAt > 0 && Date.now() - joinedAt > STABLE_MS) failures = 0;
    joinedAt = 0;
    query = null;
    why = info;
    phase = mayPass ? 'backoff' : 'refused';
    const afterMs = mayPass ? decideRetryMs(failures, retryMs, Math.random()) : null;
    failures += 1;
    if (afterMs !== null) rest(afterMs, join);
    line.log.info({ room: jid, reason: info, nextTryMs: afterMs }, `room ${phase}`);
    return tellAbsent({ state: mayPass ? 'backoff' : 'refused', info, afterMs });
  };
  const fail = (setback: Setback) => line.store(out(setback));

  /** What was said before is seen: rows go out again, those first that the room never showed. */
  const finish = (own: number) => {
    if (own !== attempt || (phase !== 'entered' && phase !== 'checking')) return;
    phase = 'joined';
    seen = null;
    heardAt = Date.now();
    watch();
    line.abandon(jid);
    line.hasten(isToRoom);
  };
  const finishOnceStored = () => {
    const own = attempt;
    const write = (client: pg.Client) => upsertPosition(client, accountId, jid, null);
    line.store({ write, onStored: () => finish(own) });
  };

  const ping = async (): Promise<void> => {
    const own = attempt;
    let isStillIn = true;
    try {
      await line.request({ to: address(), type: 'get', payload: formatPing(), timeoutMs: PING_MS });
    } catch (error) {
      isStillIn = error instanceof RejectError && STILL_IN.includes(error.condition);
    }
    if (own !== attempt) return;
    if (!isStillIn) fail({ mayPass: true, info: 'the room has lost the account' });
    else if (phase === 'checking') finishOnceStored();
    else {
      heardAt = Date.now();
      watch();
    }
  };

  const watch = () => {
    const silentMs = Date.now() - heardAt;
    rest(Math.max(1, silenceMs - silentMs), () => {
      if (Date.now() - heardAt < silenceMs) watch();
      else void ping();
    });
  };

  /** @returns whether the room keeps an archive @throws RejectError it is no room */
  const discover = async (): Promise<boolean> => {
    try {
      const payload = formatDiscoInfoQuery(null);
      const answer = await line.request({ to: jid, type: 'get', payload });
      const info = readDiscoInfo(answer.getChild('query', discoInfoNs));
      if (info && !info.identities.some(({ category }) => category === 'conference')) {
        throw new RejectError('this is the address of no room', 'no-room');
      }
      return info?.features.includes(archiveNs) ?? false;
    } catch (error) {
      if (!(error instanceof RejectError) || NO_ROOM.includes(error.condition)) throw error;
      // Such as of a room that entering it will make.
      return false;
    }
  };

  const enter = async (own: number): Promise<void> => {
    const wanted = wantedNick();
    const canAsk = await discover();
    const last = await selectPosition(line.db, accountId, jid);
    if (own !== attempt) return;
    hasArchive = canAsk && !isArchiveRefused;
    position = last;
    seen = null;
    if (last && !hasArchive) {
      const known = await selectSeen(line.db, accountId, jid);
      if (own !== attempt) return;
      seen = new Set([
        ...known.map(({ from, id, body }) => seenKey(from, id, body)),
        ...passedOver,
      ]);
    }
    if (nick !== '') formerNick = nick;
    nick = wanted;
    askedNick = wanted;
    phase = 'joining';
    const history = hasArchive
      ? { maxStanzas: 0 }
      : { seconds: Math.ceil(last?.secondsAgo ?? 0) + OVERLAP_S };
    const { password } = row;
    line.send(formatJoin({ to: address(), password, history, availability: availability() }));
    rest(JOIN_MS, () => fail({ mayPass: true, info: 'the room does not answer' }));
  };

  const join = () => {
    attempt += 1;
    const own = attempt;
    stop();
    phase = 'asking';
    line.store(tellAbsent({ state: 'joining', info: null, afterMs: null }));
    enter(own).catch((error: unknown) => {
      if (own !== attempt) return;
      const isVerdict = error instanceof RejectError;
      const mayPass = !isVerdict || error.condition.startsWith('remote-server-');
      fail({ mayPass, info: errorText(error) });
    });
  };

  const ask = async (
    after: string | null,
    start: Date | null,
    isStored: boolean,
  ): Promise<ArchiveEnd> => {
    const id = randomBytes(9).toString('base64url');
    query = { id, isStored };
    const page = isStored ? { max: PAGE, after } : { max: 1, before: '' };
    const payload = formatArchiveQuery({ queryId: id, start, page });
    const answer = await line.request({ to: jid, type: 'set', payload });
    const end = readArchiveEnd(answer.getChild('fin', archiveNs));
    if (!end) throw new RetryError('the archive of the room does not say how far it has come', 0);
    return end;
  };

  const readPages = async (own: number, from: string | null, start: Date | null) => {
    let after = from;
    for (;;) {
      const { isComplete, page } = await ask(after, after === null ? start : null, true);
      if (own !== attempt || isComplete || !page?.last || page.last === after) return;
      after = page.last;
    }
  };

  /** Reads what was said since the account was last here; of a new room, only where its archive ends. */
  const catchUp = async (own: number): Promise<void> => {
    const last = position;
    if (last === null) {
      const { page } = await ask(null, null, false);
      const end = page?.last ?? null;
      line.store({ write: (client) => upsertPosition(client, accountId, jid, end) });
      return;
    }
    const start = new Date(Date.now() - (last.secondsAgo + OVERLAP_S) * 1_000);
    try {
      await readPages(own, last.archiveId, start);
    } catch (error) {
      const isGone = error instanceof RejectError && error.condition === 'item-not-found';
      if (!isGone || last.archiveId === null) throw error;
      // The archive has forgotten the last message that we saw.
      await readPages(own, null, start);
    }
  };

  const onEntered = (isNew: boolean) => {
    const own = attempt;
    phase = 'entered';
    joinedAt = Date.now();
    heardAt = joinedAt;
    line.log.info({ room: jid, nick }, 'room entered');
    if (isNew) {
      line
        .request({ to: jid, type: 'set', payload: formatInstantRoom() })
        .catch((error: unknown) =>
          line.log.warn({ room: jid, reason: errorText(error) }, 'new room stays locked'),
        );
    }
    if (!hasArchive) {
      // The subject ends what a room tells those who enter (§7.2.15).
      rest(SUBJECT_MS, finishOnceStored);
      return;
    }
    stop();
    catchUp(own)
      .then(() => {
        if (own === attempt) finishOnceStored();
      })
      .catch((error: unknown) => {
        if (own !== attempt) return;
        if (!(error instanceof RejectError)) fail({ mayPass: true, info: errorText(error) });
        else {
          // It is not for us: then what the room itself remembers has to do.
          isArchiveRefused = true;
          join();
        }
      });
  };

  const onOwn = (occupant: Occupant, isNew: boolean): Taken => {
    nick = occupant.nick;
    const isFirst = phase === 'joining';
    if (isFirst) onEntered(isNew);
    const isUnknown = isFirst && position === null;
    return {
      async write(client) {
        await upsertOccupant(client, row.id, occupant);
        await updateJoined(client, row.id, occupant, null);
        if (isUnknown) await upsertPosition(client, accountId, jid, null);
      },
    };
  };

  /** The id of the message, when it is one of our rows: it is signed, and the nick was ours. */
  const readOwn = ({ ids, nick: from }: RoomMessage): string | null => {
    if (from === null || (from !== nick && from !== formerNick)) return null;
    return ids.find((id) => line.readRowId(id) !== null) ?? null;
  };

  /** @param advance where the account has got to by it; null when that is not to be kept */
  const takeSaid = (
    stanza: Element,
    incoming: Incoming | null,
    advance: ((client: pg.Client) => Promise<void>) | null,
  ): Taken => {
    const message = readRoomMessage(stanza);
    const write = advance ? { write: advance } : {};
    const own = readOwn(message);
    if (own !== null) {
      const from = stanza.attrs.from ?? null;
      const report = { kind: 'submitted' as const, id: own, from, error: null, stanza: '' };
      return { report, ...write, onStored: () => line.reflect(own) };
    }
    const isService = message.nick === null && !message.hasBody;
    if (!incoming || isService || message.newSubject !== null) return write;
    const { from, id, body, delayedAt } = incoming;
    const key = seenKey(from, id, body);
    if (delayedAt && seen?.has(key)) return write;
    if (delayedAt && phase === 'entered' && position === null && !hasArchive) {
      passedOver.push(key);
      return write;
    }
    return { incoming, ...write };
  };

  const takeSubject = (stanza: Element, subject: string): Taken => {
    const own = attempt;
    const taken = takeSaid(stanza, null, null);
    const isEnd = phase === 'entered' && !hasArchive;
    return {
      ...taken,
      async write(client) {
        await updateSubject(client, row.id, subject);
        if (isEnd) await upsertPosition(client, accountId, jid, null);
      },
      onStored() {
        taken.onStored?.();
        if (isEnd) finish(own);
      },
    };
  };

  const takeLive = (stanza: Element): Taken => {
    heardAt = Date.now();
    const { newSubject } = readRoomMessage(stanza);
    if (newSubject !== null) return takeSubject(stanza, newSubject);
    const { incoming } = readMessage(stanza, jid);
    // While what was missed is being read, it says how far the account has come.
    const canAdvance = phase === 'joined' || phase === 'checking';
    const archiveId = incoming?.archiveId ?? null;
    const advance = (client: pg.Client) => upsertPosition(client, accountId, jid, archiveId);
    return takeSaid(stanza, incoming, canAdvance ? advance : null);
  };

  /** A message out of the room's archive. */
  const takeArchived = (stanza: Element): Taken => {
    const result = readArchiveResult(stanza);
    if (!result || !query || result.queryId !== query.id || !query.isStored) return {};
    const { message, id, archivedAt } = result;
    if (readOccupantJid(message.attrs.from)?.room !== jid) {
      line.distrust(stanza, 'a message of another in the archive of a room');
      return {};
    }
    const { incoming } = readMessage(message, jid);
    const dated = incoming && { ...incoming, archiveId: id, delayedAt: archivedAt };
    const isToAll = message.attrs.type === 'groupchat';
    const advance = (client: pg.Client) => upsertPosition(client, accountId, jid, id);
    return isToAll ? takeSaid(message, dated, advance) : { write: advance };
  };

  const leave = () => {
    const wasIn = isIn() || phase === 'joining';
    attempt += 1;
    stop();
    if (wasIn && !isSuspended) line.send(formatDirectedUnavailable(address()));
    phase = 'left';
    formerNick = null;
  };

  const changeNick = () => {
    let wanted: string;
    try {
      wanted = wantedNick();
    } catch (error) {
      return errorText(error);
    }
    if (wanted !== askedNick) {
      askedNick = wanted;
      line.send(formatDirectedPresence(`${jid}/${wanted}`, availability()));
    }
    return null;
  };

  return {
    id: first.id,
    jid,
    isIn,
    want(wanted) {
      row = wanted;
      const isRenewed = row.state === 'pending';
      if (!row.enabled) {
        if (phase !== 'left') leave();
        if (row.state !== 'left') {
          line.store(tellAbsent({ state: 'left', info: null, afterMs: null }));
        }
      } else if (isIn()) {
        if (!isRenewed) return;
        const info = changeNick();
        const own = { nick, role: null, affiliation: null };
        line.store({ write: (client) => updateJoined(client, row.id, own, info) });
      } else if (phase === 'away' && row.state === 'refused') {
        phase = 'refused';
        why = row.stateInfo ?? 'refused';
      } else if (phase === 'away' || phase === 'left' || isRenewed) {
        if (isRenewed) failures = 0;
        isArchiveRefused = false;
        join();
      }
    },
    adopt() {
      isSuspended = true;
      if (row.state !== 'joined' || row.ownNick === null) return;
      phase = 'joined';
      try {
        askedNick = wantedNick();
      } catch {
        // It says so when it is changed.
      }
    },
    admit() {
      if (isSuspended) throw new RetryError(`the room ${jid} is not joined yet`, WAIT_MS);
      if (phase === 'joined') return;
      if (phase === 'refused' || phase === 'left') {
        const reason = phase === 'left' ? 'its row is disabled' : why;
        throw new RejectError(`the account is not in the room ${jid}: ${reason}`, 'not-acceptable');
      }
      const reason = phase === 'backoff' ? `: ${why}` : '';
      throw new RetryError(`the room ${jid} is not joined yet${reason}`, WAIT_MS);
    },
    suspend() {
      isSuspended = true;
      attempt += 1;
      query = null;
      stop();
    },
    resume(isSame) {
      isSuspended = false;
      if (phase === 'refused' || phase === 'left') return;
      if (isSame && (phase === 'joined' || phase === 'checking')) {
        phase = 'checking';
        void ping();
      } else phase = 'away';
    },
    introduce() {
      if (isIn()) line.send(formatDirectedPresence(address(), availability()));
    },
    takePresence(stanza) {
      const presence = readRoomPresence(stanza);
      if (!presence || (!isIn() && phase !== 'joining')) return {};
      heardAt = Date.now();
      const change = changeRoom(presence, {
        nick: presence.type === 'error' ? askedNick : nick,
        isIn: isIn(),
        hasPassword: row.password !== null,
        mayHaveGhost: formerNick !== null && failures < GHOST_TRIES,
      });
      const isCounted = isIn();
      switch (change?.kind) {
        case 'in':
          return onOwn(change.occupant, change.isNew);
        case 'present':
          return {
            async write(client) {
              await upsertOccupant(client, row.id, change.occupant);
              if (isCounted) await updateOccupants(client, row.id);
            },
          };
        case 'absent':
          return {
            async write(client) {
              await deleteOccupant(client, row.id, change.nick);
              if (isCounted) await updateOccupants(client, row.id);
            },
          };
        case 'renamed':
          if (change.from === nick) {
            formerNick = nick;
            nick = change.to;
          }
          return { write: (client) => updateOccupantNick(client, row.id, change) };
        case 'nickRefused': {
          const own = { nick, role: null, affiliation: null };
          return { write: (client) => updateJoined(client, row.id, own, change.info) };
        }
        case 'out':
          return out(change);
        default:
          return {};
      }
    },
    takeMessage(stanza) {
      const { type, id } = stanza.attrs;
      if (type === 'groupchat') return takeLive(stanza);
      const isFromRoom = readOccupantJid(stanza.attrs.from)?.nick === null;
      if (!isFromRoom) return null;
      if (type !== 'error')
        return stanza.getChild('result', archiveNs) ? takeArchived(stanza) : null;
      // The row is not to blame: it goes out once the account is in again.
      const isLost = isIn() && readStanzaError(stanza).condition === 'not-acceptable';
      if (!isLost || !id || !line.readRowId(id)) return null;
      return out({ mayPass: true, info: 'the room has lost the account' });
    },
    forget() {
      leave();
      line.store({ write: (client) => deletePosition(client, accountId, jid) });
    },
    close() {
      attempt += 1;
      stop();
    },
  };
};
