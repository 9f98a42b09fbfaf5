/** The rooms of others that an account is in (XEP-0045), and the invitations it gets. */
import type { Element } from '@xmpp/client';
import { errorText, RejectError, RetryError } from '../../errors.ts';
import { bareJid, parseJid } from '../../xmpp/wire/jid.ts';
import { mucNs, readOccupantJid } from '../../xmpp/wire/muc.ts';
import { directInviteNs, formatDecline } from '../../xmpp/wire/mucInvite.ts';
import type { KindParts, Line, Part, PartKind, PartTiming, Taken } from '../part.ts';
import { type Invite, readInvite } from './invite.ts';
import {
  type AnsweredInvite,
  type LiveRoom,
  type RoomRow,
  selectAnswered,
  selectBehind,
  selectRooms,
  updateAbsent,
  updateAllAbsent,
  updateAnswered,
  upsertInvite,
  upsertRoom,
} from './store.ts';
import { createVisit, type Visit } from './visit.ts';

/** Until it is believed that no stream will go on from where it was lost. */
const GONE_MS = 300_000;
/** For a room's row that is committed with a message to it. */
const LOOK_MS = 2_000;

/** @throws RejectError when it is not the address of a room */
const readRoomJid = (text: string): string => {
  const { local, resource } = parseJid(text.trim());
  if (local !== null && resource === null) return bareJid(text.trim());
  throw new RejectError('the address of a room is name@service', 'jid-malformed');
};

const createRoomsPart = (line: Line, timing: PartTiming) => {
  const { accountId } = line;
  const visits = new Map<number, Visit>();
  const byJid = new Map<string, Visit>();
  /** Whether the rows have been read once. */
  let isLoaded = false;
  /** Rows to rooms that are not known wait for the rooms to be read again. */
  let hasDoubts = false;
  let goneTimer: NodeJS.Timeout | null = null;

  const isOnline = () => line.fullJid() !== null;

  const addVisit = (row: RoomRow): Visit => {
    const jid = readRoomJid(row.roomJid);
    if (byJid.has(jid)) throw new RejectError('another row names the same room', 'conflict');
    const visit = createVisit(line, jid, row, timing);
    visits.set(row.id, visit);
    byJid.set(jid, visit);
    return visit;
  };

  const dropVisit = (visit: Visit) => {
    visit.forget();
    visits.delete(visit.id);
    byJid.delete(visit.jid);
  };

  const refuse = (row: RoomRow, error: unknown) => {
    const state = row.enabled ? ('refused' as const) : ('left' as const);
    if (row.state === state) return;
    const info = row.enabled ? errorText(error) : null;
    line.store({ write: (client) => updateAbsent(client, row.id, { state, info, afterMs: null }) });
  };

  const isNamedBy = (visit: Visit, rows: readonly RoomRow[]): boolean =>
    rows.some(({ id, roomJid }) => {
      try {
        return id === visit.id && readRoomJid(roomJid) === visit.jid;
      } catch {
        return false;
      }
    });

  const answer = ({ id, roomJid, from, password, isDirect, answer: wanted }: AnsweredInvite) => {
    if (wanted === 'reject' && !isDirect && from !== null) line.send(formatDecline(roomJid, from));
    line.store({
      async write(client) {
        if (wanted === 'accept') await upsertRoom(client, accountId, { roomJid, password });
        await updateAnswered(client, id);
      },
    });
  };

  const matchOnce = async (): Promise<void> => {
    // What is on its way to the table is older than what people write now.
    await new Promise<void>((done) => line.store({ onStored: () => done() }));
    const rows = await selectRooms(line.db, accountId);
    const answered = await selectAnswered(line.db, accountId);
    if (!isOnline()) return;
    isLoaded = true;
    for (const visit of [...visits.values()]) if (!isNamedBy(visit, rows)) dropVisit(visit);
    for (const row of rows) {
      try {
        (visits.get(row.id) ?? addVisit(row)).want(row);
      } catch (error) {
        refuse(row, error);
      }
    }
    for (const invite of answered) answer(invite);
    if (!hasDoubts) return;
    hasDoubts = false;
    line.hasten(() => true);
  };

  let isMatching = false;
  let isWanted = false;
  const match = async (): Promise<void> => {
    isWanted = true;
    if (isMatching) return;
    isMatching = true;
    try {
      while (isWanted) {
        isWanted = false;
        await matchOnce();
      }
    } finally {
      isMatching = false;
    }
  };

  const lookAgain = () => {
    hasDoubts = true;
    if (!isOnline()) return;
    match().catch((error: unknown) =>
      line.log.debug({ reason: errorText(error) }, 'rooms not read'),
    );
  };

  const takeInvite = (stanza: Element, invite: Invite): Taken => {
    const { roomJid, from, isDirect } = invite;
    if (byJid.get(roomJid)?.isIn()) return {};
    const policy = line.account().roomInvitePolicy;
    line.log.info({ room: roomJid, peer: from ?? stanza.attrs.from, policy }, 'invited to a room');
    if (policy === 'accept') return { write: (client) => upsertRoom(client, accountId, invite) };
    if (policy === 'ask') return { write: (client) => upsertInvite(client, accountId, invite) };
    if (!isDirect && from !== null) line.send(formatDecline(roomJid, from));
    return {};
  };

  const stopWaiting = () => {
    if (goneTimer) clearTimeout(goneTimer);
    goneTimer = null;
  };
  const tellGone = () => {
    if (visits.size > 0) line.store({ write: (client) => updateAllAbsent(client, accountId) });
  };

  const part: Part = {
    features: [mucNs, directInviteNs],
    async resume() {
      if (isLoaded) return;
      for (const row of await selectRooms(line.db, accountId)) {
        if (row.state !== 'joined' || visits.has(row.id)) continue;
        addVisit(row).adopt();
      }
    },
    online(isResumed) {
      stopWaiting();
      for (const visit of visits.values()) visit.resume(isResumed);
    },
    reintroduced() {
      for (const visit of visits.values()) visit.introduce();
    },
    receive(stanza) {
      if (stanza.name !== 'message' && stanza.name !== 'presence') return null;
      const sender = readOccupantJid(stanza.attrs.from);
      const visit = sender ? byJid.get(sender.room) : undefined;
      if (stanza.name === 'presence') return visit?.takePresence(stanza) ?? null;
      const taken = visit?.takeMessage(stanza);
      if (taken) return taken;
      const invite = readInvite(stanza);
      if (invite !== 'spoofed') return invite && takeInvite(stanza, invite);
      line.distrust(stanza, 'an invitation in the name of a room');
      return {};
    },
    sync: match,
    admit(row, to, type) {
      if (byJid.size === 0 && type !== 'groupchat') return;
      const jid = to.split('/', 1)[0] ?? to;
      const visit = byJid.get(jid);
      if (!visit && type !== 'groupchat') return;
      try {
        if (visit) visit.admit();
        else {
          const info = `the room ${jid} is not in xmpp_rooms of the account`;
          throw new RejectError(info, 'not-acceptable');
        }
      } catch (error) {
        const isFinal = isLoaded && row.attempts > 0;
        if (!(error instanceof RejectError) || isFinal) throw error;
        // Its row may have come, or changed, with the message.
        lookAgain();
        throw new RetryError(error.message, LOOK_MS);
      }
    },
    offline() {
      for (const visit of visits.values()) visit.suspend();
      stopWaiting();
      goneTimer = setTimeout(tellGone, GONE_MS);
    },
    close() {
      stopWaiting();
      for (const visit of visits.values()) visit.close();
      tellGone();
    },
  };
  const list = (): LiveRoom[] => [...visits.keys()].map((id) => ({ id, accountId }));
  return { part, list };
};

export const createRoomsKind = ({ timing = {} }: Pick<KindParts, 'timing'>): PartKind => {
  const lists = new Set<() => LiveRoom[]>();
  return {
    tables: ['xmpp_rooms', 'xmpp_room_invites'],
    selectBehind: (db) =>
      selectBehind(
        db,
        [...lists].flatMap((list) => list()),
      ),
    create(line) {
      const { part, list } = createRoomsPart(line, timing);
      lists.add(list);
      return {
        ...part,
        close() {
          lists.delete(list);
          part.close?.();
        },
      };
    },
  };
};
