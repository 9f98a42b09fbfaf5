/**
 * What a stream brings, on its way to the inbox: each stanza becomes what is to be stored, by the part that
 * takes it or as a message, and is acknowledged when it is. Not more is read than is stored in time.
 */
import type { Element } from '@xmpp/client';
import type { Log } from '../log.ts';
import type { Requester } from '../xmpp/requester.ts';
import type { Session } from '../xmpp/session.ts';
import type { Inbox, Letter } from './inbox.ts';
import type { Part, Taken } from './part.ts';
import { addSpoofed } from './received/store.ts';
import type { ClaimedReport } from './reports.ts';
import { parseStanzaId, type RowKey } from './stanzaId.ts';
import { type Archived, buildReceipt, type Incoming, type Report, readMessage } from './stanzas.ts';
import type { Account } from './store.ts';

/** Uncommitted letters at which reading stops, below what makes servers give the stream up. */
const BACKLOG_MAX = 300;

export type ReceptionParts = {
  inbox: Pick<Inbox, 'put'>;
  log: Log;
  secret(): string;
  account(): Account;
  ownJid(): string;
  /** The stream of the moment. */
  session(): Session | null;
  /** Asked in turn. */
  parts(): Part[];
  requester: Pick<Requester, 'take'>;
  /** All up to this number of the stream of the moment is in the table. */
  onCommitted(count: number): void;
  sendReceipt(receiver: Session, receipt: string): void;
  /** A sent message came back, and its row knows. */
  onFailed(report: ClaimedReport): void;
};

export type Reception = {
  /** @param count the stanza's number on the stream; null when it has none */
  receive(stanza: Element, count: number | null): void;
  /** Stores what is no stanza of the stream. */
  store(taken: Taken): void;
  distrust(stanza: Element, claim: string): void;
  readRowId(stanzaId: string): RowKey | null;
  /** Another stream: what the last one brought is not counted on it. */
  renew(): void;
  /** Letters of the stream that are not stored yet. */
  uncommitted(): number;
};

export const createReception = (given: ReceptionParts): Reception => {
  const { inbox, log, account, ownJid, requester } = given;
  /** What the current stream has brought and the inbox has not stored yet. */
  let stream = { uncommitted: 0 };

  const commit = (receiver: Session | null, own: typeof stream, count: number) => {
    receiver?.commit(count);
    // The stream may be down by now; it is resumed from here.
    if (own === stream) given.onCommitted(count);
  };

  /** No more is acknowledged than the table knows of: a stream is not resumed from a count that goes back. */
  const put = (
    content: Partial<Pick<Letter, 'incoming' | 'report' | 'archived' | 'write'>>,
    count: number | null,
    onStored: (receiver: Session | null) => void = () => {},
  ) => {
    const receiver = given.session();
    const streamId = receiver?.streamId;
    const own = stream;
    own.uncommitted += 1;
    inbox.put({
      accountId: account().id,
      ownJid: ownJid(),
      incoming: null,
      report: null,
      archived: null,
      write: null,
      ...content,
      progress: streamId && count !== null ? { streamId, h: count } : null,
      onCommitted() {
        own.uncommitted -= 1;
        if (count !== null) commit(receiver, own, count);
        if (own.uncommitted < BACKLOG_MAX / 2) receiver?.resume();
        onStored(receiver);
      },
    });
    if (own.uncommitted > BACKLOG_MAX) receiver?.pause();
  };

  /** @returns what to store in the stanza's stead */
  const distrust = (stanza: Element, claim: string): Taken => {
    log.warn({ account: account().id, peer: stanza.attrs.from, claim }, 'claim not believed');
    return { write: (client) => addSpoofed(client, [account().id]) };
  };

  const readRowId = (stanzaId: string) => parseStanzaId(given.secret(), stanzaId);

  /** @returns null for what speaks of no row */
  const claim = (report: Report): ClaimedReport | null => {
    const key = readRowId(report.id);
    return key && { ...report, key, accountId: account().id };
  };

  const follow = (incoming: Incoming): Archived | null => {
    for (const part of given.parts()) {
      const archived = part.follow?.(incoming);
      if (archived) return archived;
    }
    return null;
  };

  const receiveMessage = (stanza: Element, count: number | null) => {
    const { incoming, report: seen, wantsReceipt } = readMessage(stanza, ownJid());
    const report = seen && claim(seen);
    const content = {
      // An error that is none of a sent row is kept as a message of its own.
      incoming: report?.kind === 'failed' ? null : incoming,
      report,
      archived: incoming && follow(incoming),
    };
    put(content, count, (receiver) => {
      if (report?.kind === 'failed') given.onFailed(report);
      log.debug({ account: account().id, peer: stanza.attrs.from }, 'message received');
      if (wantsReceipt && account().sendReceipts && receiver?.isOpen()) {
        given.sendReceipt(receiver, buildReceipt(stanza));
      }
    });
  };

  /** What others have to say: the requester's answers, the parts' stanzas. */
  const takeByPart = (stanza: Element): Taken | null => {
    const asked = stanza.name === 'iq' ? requester.take(stanza) : null;
    if (asked === 'taken') return {};
    if (asked === 'spoofed') return distrust(stanza, 'an answer to what another was asked');
    for (const part of given.parts()) part.watch?.(stanza);
    for (const part of given.parts()) {
      const taken = part.receive?.(stanza);
      if (taken) return taken;
    }
    return null;
  };

  const putTaken = (taken: Taken, count: number | null) => {
    const { incoming = null, report, archived = null, write = null, onStored } = taken;
    put({ incoming, report: report ? claim(report) : null, archived, write }, count, onStored);
  };

  const receive = (stanza: Element, count: number | null) => {
    const taken = takeByPart(stanza);
    if (taken) {
      if (Object.keys(taken).length > 0 || count !== null) putTaken(taken, count);
    } else if (stanza.name === 'message') receiveMessage(stanza, count);
    else if (count !== null) put({}, count);
  };

  const receiveSafely = (stanza: Element, count: number | null) => {
    try {
      receive(stanza, count);
    } catch (err) {
      log.warn({ err, account: account().id, peer: stanza.attrs.from }, 'stanza dropped');
    }
  };

  return {
    receive: receiveSafely,
    store: (taken) => putTaken(taken, null),
    distrust: (stanza, claim) => putTaken(distrust(stanza, claim), null),
    readRowId,
    renew() {
      stream = { uncommitted: 0 };
    },
    uncommitted: () => stream.uncommitted,
  };
};
