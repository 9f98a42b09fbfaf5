/**
 * Copies of messages that went to or came from another client of the account: carbons (XEP-0280) and
 * results of the own archive (XEP-0313). Anybody can send what looks like one.
 */
import type { Element } from '@xmpp/client';
import { type ArchiveResult, archiveNs, readArchiveResult } from '../../xmpp/wire/archive.ts';
import { detachElement } from '../../xmpp/wire/detach.ts';
import { readBareJid, readJid } from '../../xmpp/wire/jid.ts';
import { type Incoming, type Report, readMessage } from '../stanzas.ts';

export const NS_CARBONS = 'urn:xmpp:carbons:2';
const NS_FORWARD = 'urn:xmpp:forward:0';
/** A longer id is none of a server's, and no index would take it. */
const MAX_ID_CHARS = 1_000;

export type Carbon = { kind: 'sent' | 'received'; message: Element };
export type Forged = { claim: string };

/** Whether the message has in it what only the own server may send. */
const isWrapper = (message: Element): boolean =>
  message
    .getChildElements()
    .some((element) => element.getNS() === NS_CARBONS || element.is('result', archiveNs));

/**
 * @param ownJid the bare JID of the account: only from there may a carbon come (XEP-0280 §11)
 * @returns null for what is no carbon
 */
export const readCarbon = (stanza: Element, ownJid: string): Carbon | Forged | null => {
  const sent = stanza.getChild('sent', NS_CARBONS);
  const wrapper = sent ?? stanza.getChild('received', NS_CARBONS);
  if (!wrapper) return null;
  if (readJid(stanza.attrs.from) !== ownJid) return { claim: 'a carbon' };
  const message = wrapper.getChild('forwarded', NS_FORWARD)?.getChild('message');
  if (!message) return { claim: 'a carbon of nothing' };
  const isOwn = readBareJid(message.attrs.from) === ownJid;
  if (sent && !isOwn) return { claim: 'a carbon of what another has sent' };
  if (isWrapper(message)) return { claim: 'a carbon of a carbon' };
  return { kind: sent ? 'sent' : 'received', message: detachElement(message) };
};

/**
 * @param isAsked whether a query with this id was made
 * @returns null for what is no result; results without a message or an id are forged, too
 */
export const readResult = (
  stanza: Element,
  ownJid: string,
  isAsked: (queryId: string) => boolean,
): ArchiveResult | Forged | null => {
  if (!stanza.getChild('result', archiveNs)) return null;
  const { from } = stanza.attrs;
  // The server may leave out that it speaks for the account (RFC 6120 §8.1.2.1).
  const isOwn = from === undefined || readJid(from) === ownJid;
  if (!isOwn) return { claim: 'a result of the archive' };
  const result = readArchiveResult(stanza);
  if (!result?.queryId || !isAsked(result.queryId)) {
    return { claim: 'a result of the archive that was not asked for' };
  }
  return result.id.length > MAX_ID_CHARS ? { claim: 'a result with an endless id' } : result;
};

export type Copy = { incoming: Incoming | null; report: Report | null };

/** What the account itself has sent, by any client. */
const isSent = (message: Element, ownJid: string): boolean =>
  readBareJid(message.attrs.from) === ownJid;

/** @returns the id of a message of the account that may be a row of ours */
export const readSentId = (message: Element, ownJid: string): string | null =>
  isSent(message, ownJid) ? (message.attrs.id ?? null) : null;

type Reader = {
  ownJid: string;
  /** Whether this daemon has sent a message with that id. */
  isRowId(id: string): boolean;
};

/** What of a message that the account has sent is to be kept: nothing of what is a row already. */
const readSent = (message: Element, { ownJid, isRowId }: Reader): Incoming | null => {
  const { incoming } = readMessage(message, ownJid);
  if (incoming === null || incoming.type === 'error') return null;
  return incoming.id !== null && isRowId(incoming.id) ? null : { ...incoming, carbon: 'sent' };
};

/** A carbon as a row. What other clients of the account have sent says nothing of our rows. */
export const readCarbonCopy = ({ kind, message }: Carbon, reader: Reader): Copy => {
  const { incoming, report } = readMessage(message, reader.ownJid);
  if (isSent(message, reader.ownJid)) return { incoming: readSent(message, reader), report: null };
  return { incoming: incoming && { ...incoming, carbon: kind }, report };
};

/** A message of the archive as a row: its id and its time are the archive's. */
export const readArchiveCopy = (
  { id, archivedAt, message }: ArchiveResult,
  reader: Reader,
): Copy => {
  const { incoming, report } = readMessage(message, reader.ownJid);
  // Rooms have archives of their own.
  if (message.attrs.type === 'groupchat' || isWrapper(message))
    return { incoming: null, report: null };
  const isOwn = isSent(message, reader.ownJid);
  const kept = isOwn ? readSent(message, reader) : incoming;
  return {
    incoming: kept && { ...kept, archiveId: id, delayedAt: archivedAt ?? kept.delayedAt },
    report: isOwn ? null : report,
  };
};
