/**
 * One room that an account is in, or tries to be, over all its streams: it is entered, left and looked
 * after; what is said in it becomes rows, and what it shows of our own messages settles theirs.
 */
import type { Element } from '@xmpp/client';
import { errorText, RejectError } from '../../errors.ts';
import { archiveNs } from '../../xmpp/wire/archive.ts';
import { formatDiscoInfoQuery } from '../../xmpp/wire/disco.ts';
import { readStanzaError } from '../../xmpp/wire/error.ts';
import { parseJid, readBareJid } from '../../xmpp/wire/jid.ts';
import {
  formatInstantRoom,
  formatJoin,
  readOccupantJid,
  readRoomPresence,
  readSubject,
} from '../../xmpp/wire/muc.ts';
import { formatDirectedPresence, formatDirectedUnavailable } from '../../xmpp/wire/presence.ts';
import type { TxRow } from '../link.ts';
import type { Line, PartTiming, Taken } from '../part.ts';
import { changeRoom, decideRetryMs, type Occupant, type Setback } from './changeRoom.ts';
import { createHearing } from './hearing.ts';
import { isIn, isLevel, type Phase, requireJoined } from './phase.ts';
import { mayBeRoom, readHasArchive } from './roomAnswers.ts';
import {
  deleteOccupant,
  deletePosition,
  type RoomRow,
  type RoomState,
  updateAbsent,
  updateJoined,
  updateOccupantNick,
  updateOccupants,
  updateSubject,
  upsertOccupant,
} from './store.ts';
import { createWatch } from './watch.ts';

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
const SILENCE_MS = 600_000;
const RETRY_MS = 1_000;
const STABLE_MS = 60_000;
/** Tries in which our own last session may be what holds the nick. */
const GHOST_TRIES = 6;

const LOST: Setback = { mayPass: true, info: 'the room has lost the account' };

export const createVisit = (line: Line, jid: string, first: RoomRow, timing: PartTiming): Visit => {
  const { accountId } = line;
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
  let timer: NodeJS.Timeout | null = null;

  const address = () => `${jid}/${nick}`;
  const hearing = createHearing(line, jid, () => ({ ownNicks: [nick, formerNick], phase }));
  const watch = createWatch({
    line,
    address,
    silenceMs: timing.roomSilenceMs ?? SILENCE_MS,
    onLost: () => fail(LOST),
  });
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
  const stopTimer = () => {
    if (timer) clearTimeout(timer);
    timer = null;
  };
  /** What is under way counts no more. */
  const supersede = () => {
    attempt += 1;
    stopTimer();
    watch.stop();
    hearing.stop();
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
    supersede();
    if (joinedAt > 0 && Date.now() - joinedAt > STABLE_MS) failures = 0;
    joinedAt = 0;
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
    hearing.end();
    stopTimer();
    watch.start();
    line.abandon(jid);
    line.hasten(isToRoom);
  };
  const finishOnceStored = () => {
    const own = attempt;
    line.store({ ...hearing.advance(), onStored: () => finish(own) });
  };

  /** @returns whether the room keeps an archive @throws RejectError it is no room */
  const discover = async (): Promise<boolean> => {
    try {
      const payload = formatDiscoInfoQuery(null);
      return readHasArchive(await line.request({ to: jid, type: 'get', payload }));
    } catch (error) {
      if (mayBeRoom(error)) return false;
      throw error;
    }
  };

  const enter = async (own: number): Promise<void> => {
    const wanted = wantedNick();
    const missed = await hearing.look(await discover());
    if (own !== attempt) return;
    if (nick !== '') formerNick = nick;
    nick = wanted;
    askedNick = wanted;
    phase = 'joining';
    const { password } = row;
    const history = hearing.begin(missed);
    line.send(formatJoin({ to: address(), password, history, availability: availability() }));
    rest(JOIN_MS, () => fail({ mayPass: true, info: 'the room does not answer' }));
  };

  const join = () => {
    supersede();
    const own = attempt;
    phase = 'asking';
    line.store(tellAbsent({ state: 'joining', info: null, afterMs: null }));
    enter(own).catch((error: unknown) => {
      if (own !== attempt) return;
      const isVerdict = error instanceof RejectError;
      const mayPass = !isVerdict || error.condition.startsWith('remote-server-');
      fail({ mayPass, info: errorText(error) });
    });
  };

  const catchUp = async (own: number): Promise<void> => {
    try {
      await hearing.catchUp();
      if (own === attempt) finishOnceStored();
    } catch (error) {
      if (own !== attempt) return;
      if (!(error instanceof RejectError)) fail({ mayPass: true, info: errorText(error) });
      else {
        hearing.refuseArchive();
        join();
      }
    }
  };

  const openRoom = async (): Promise<void> => {
    try {
      await line.request({ to: jid, type: 'set', payload: formatInstantRoom() });
    } catch (error) {
      line.log.warn({ room: jid, reason: errorText(error) }, 'new room stays locked');
    }
  };

  const onEntered = (isNew: boolean) => {
    phase = 'entered';
    joinedAt = Date.now();
    line.log.info({ room: jid, nick }, 'room entered');
    if (isNew) void openRoom();
    // The subject ends what a room without archive tells those who enter (§7.2.15).
    if (!hearing.hasArchive()) rest(SUBJECT_MS, finishOnceStored);
    else {
      stopTimer();
      void catchUp(attempt);
    }
  };

  const onOwn = (occupant: Occupant, isNew: boolean): Taken => {
    nick = occupant.nick;
    const isFirst = phase === 'joining';
    if (isFirst) onEntered(isNew);
    const advance = isFirst && hearing.isNew() ? hearing.advance() : null;
    return {
      async write(client) {
        await upsertOccupant(client, row.id, occupant);
        await updateJoined(client, row.id, occupant, null);
        await advance?.write(client);
      },
    };
  };

  const takeSubject = (stanza: Element, subject: string): Taken => {
    const own = attempt;
    const taken = hearing.takeSubject(stanza);
    const end = phase === 'entered' && !hearing.hasArchive() ? hearing.advance() : null;
    return {
      ...taken,
      async write(client) {
        await updateSubject(client, row.id, subject);
        await end?.write(client);
      },
      onStored() {
        taken.onStored?.();
        if (end) finish(own);
      },
    };
  };

  const takeLive = (stanza: Element): Taken => {
    watch.hear();
    const subject = readSubject(stanza);
    return subject === null ? hearing.takeLive(stanza) : takeSubject(stanza, subject);
  };

  const leave = () => {
    const wasIn = isIn(phase) || phase === 'joining';
    supersede();
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
    isIn: () => isIn(phase),
    want(wanted) {
      row = wanted;
      const isRenewed = row.state === 'pending';
      if (!row.enabled) {
        if (phase !== 'left') leave();
        if (row.state !== 'left') {
          line.store(tellAbsent({ state: 'left', info: null, afterMs: null }));
        }
      } else if (isIn(phase)) {
        if (!isRenewed) return;
        const info = changeNick();
        const own = { nick, role: null, affiliation: null };
        line.store({ write: (client) => updateJoined(client, row.id, own, info) });
      } else if (phase === 'away' && row.state === 'refused') {
        phase = 'refused';
        why = row.stateInfo ?? 'refused';
      } else if (phase === 'away' || phase === 'left' || isRenewed) {
        if (isRenewed) failures = 0;
        hearing.allowArchive();
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
      // Without a stream it is in no room, whatever it was.
      requireJoined(jid, isSuspended ? 'away' : phase, why);
    },
    suspend() {
      isSuspended = true;
      supersede();
    },
    resume(isSame) {
      isSuspended = false;
      if (phase === 'refused' || phase === 'left') return;
      if (isSame && isLevel(phase)) {
        phase = 'checking';
        watch.check(finishOnceStored);
      } else phase = 'away';
    },
    introduce() {
      if (isIn(phase)) line.send(formatDirectedPresence(address(), availability()));
    },
    takePresence(stanza) {
      const presence = readRoomPresence(stanza);
      if (!presence || (!isIn(phase) && phase !== 'joining')) return {};
      watch.hear();
      const change = changeRoom(presence, {
        nick: presence.type === 'error' ? askedNick : nick,
        isIn: isIn(phase),
        hasPassword: row.password !== null,
        mayHaveGhost: formerNick !== null && failures < GHOST_TRIES,
      });
      const isCounted = isIn(phase);
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
        return stanza.getChild('result', archiveNs) ? hearing.takeArchived(stanza) : null;
      // The row is not to blame: it goes out once the account is in again.
      const isLost = isIn(phase) && readStanzaError(stanza).condition === 'not-acceptable';
      if (!isLost || !id || !line.readRowId(id)) return null;
      return out(LOST);
    },
    forget() {
      leave();
      line.store({ write: (client) => deletePosition(client, accountId, jid) });
    },
    close: supersede,
  };
};
