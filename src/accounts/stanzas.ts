/** Messages of the XMPP queues as stanzas, and back. Strings on the way out, since that path is hot. */
import type { Element } from '@xmpp/client';
import { RejectError } from '../errors.ts';
import { readDelay } from '../xmpp/wire/delay.ts';
import { readStanzaError, type StanzaError } from '../xmpp/wire/error.ts';
import { parseFragment } from '../xmpp/wire/fragment.ts';
import { readOccupantId } from '../xmpp/wire/muc.ts';
import { escapeAttribute, formatElement } from '../xmpp/wire/xml.ts';
import { buildContent, type Content, hasText, isPassing, type OutgoingContent } from './content.ts';
import { readContent } from './readContent.ts';
import { formatText, requireJid, requireText } from './text.ts';

const NS_CLIENT = 'jabber:client';
const NS_RECEIPTS = 'urn:xmpp:receipts';
const NS_MARKERS = 'urn:xmpp:chat-markers:0';
const NS_STANZA_ID = 'urn:xmpp:sid:0';
const NS_CHAT_STATES = 'http://jabber.org/protocol/chatstates';
const NS_EVENT = 'http://jabber.org/protocol/pubsub#event';
const NS_HINTS = 'urn:xmpp:hints';

const MESSAGE_TYPES = ['normal', 'chat', 'groupchat', 'headline', 'error'];

/** What a row asks to be sent. */
export type Outgoing = {
  messageStanza: string | null;
  messageTo: string | null;
  messageSubject: string | null;
  messageBody: string | null;
  messageType: string;
  thread: string | null;
  lang: string | null;
  requestReceipt: boolean;
  /** What else it holds; null for most. */
  content: (OutgoingContent & { hasAttachment: boolean }) | null;
};

const requireSize = (stanza: string, maxBytes: number): string => {
  const sizeBytes = Buffer.byteLength(stanza);
  if (sizeBytes <= maxBytes) return stanza;
  throw new RejectError(
    `the message is ${sizeBytes} bytes, its account sends ${maxBytes} at most (max_stanza_bytes)`,
    'policy-violation',
  );
};

const readRecipient = (text: string | null | undefined, column: string): string => {
  if (!text)
    throw new RejectError(`${column} is empty: there is no one to send to`, 'jid-malformed');
  return requireJid(text, column);
};

/** A stanza for the wire, with whom it goes to and its type. */
export type Built = { text: string; to: string; type: string };

/** The row's own stanza with what it may not decide taken out of its hands. */
const rewriteStanza = (text: string, id: string, maxBytes: number): Built => {
  const message = parseFragment(text, { maxStanzaBytes: maxBytes });
  const xmlns = message.attrs.xmlns ?? NS_CLIENT;
  if (message.name !== 'message' || xmlns !== NS_CLIENT) {
    throw new RejectError('message_stanza is no <message/>', 'bad-request');
  }
  const { type = 'normal' } = message.attrs;
  if (type === 'error' || !MESSAGE_TYPES.includes(type)) {
    throw new RejectError(`message_stanza has the type '${type}'`, 'bad-request');
  }
  const to = readRecipient(message.attrs.to, "message_stanza's to");
  message.attrs.to = to;
  message.attrs.id = id;
  delete message.attrs.from;
  delete message.attrs.xmlns;
  for (const claimed of message.getChildren('stanza-id', NS_STANZA_ID)) message.remove(claimed);
  for (const claimed of message.getChildren('origin-id', NS_STANZA_ID)) message.remove(claimed);
  const stanza = formatElement(message);
  const originId = `<origin-id xmlns='${NS_STANZA_ID}' id='${id}'/>`;
  const isEmpty = message.children.length === 0;
  const open = isEmpty ? `${stanza.slice(0, -2)}>` : stanza.slice(0, -'</message>'.length);
  return { text: requireSize(`${open}${originId}</message>`, maxBytes), to, type };
};

const RECEIPT_REQUEST = `<request xmlns='${NS_RECEIPTS}'/><markable xmlns='${NS_MARKERS}'/>`;

/** The content with the text that it may depend on. */
const withText = ({ content, messageSubject, messageBody }: Outgoing) =>
  content && { ...content, messageSubject, messageBody };

/** Whether the row is nothing but a signal of the moment, which is not sent late (XEP-0085 §5.6). */
export const isOfTheMoment = (row: Outgoing): boolean => {
  const content = withText(row);
  return content !== null && !content.hasAttachment && isPassing(content);
};

/**
 * Builds what goes on the wire for a row.
 *
 * @param id the stanza's id and origin-id (XEP-0359), the same each time the row is sent
 * @param maxBytes how large the stanza may be
 * @throws RejectError with the column and what is wrong with it
 */
export const buildMessage = (row: Outgoing, id: string, maxBytes: number): Built => {
  if (row.messageStanza !== null) return rewriteStanza(row.messageStanza, id, maxBytes);
  const type = row.messageType;
  const to = readRecipient(row.messageTo, 'message_to');
  const lang =
    row.lang === null ? '' : ` xml:lang='${escapeAttribute(requireText(row.lang, 'lang'))}'`;
  const content = withText(row);
  const wantsReceipt =
    row.requestReceipt &&
    (content === null ? row.messageBody !== null : hasText(content)) &&
    (type === 'chat' || type === 'normal');
  const text = requireSize(
    `<message to='${escapeAttribute(to)}' type='${type}' id='${id}'${lang}>` +
      formatText('subject', row.messageSubject, 'message_subject') +
      (content === null
        ? formatText('body', row.messageBody, 'message_body')
        : buildContent(content, { maxStanzaBytes: maxBytes })) +
      formatText('thread', row.thread, 'thread') +
      `${wantsReceipt ? RECEIPT_REQUEST : ''}<origin-id xmlns='${NS_STANZA_ID}' id='${id}'/></message>`,
    maxBytes,
  );
  return { text, to, type };
};

/** What a received message holds besides text. */
export type IncomingContent = Content & {
  errorType?: string;
  errorText?: string | null;
  errorBy?: string | null;
  /** In a room: who wrote it, whatever the nick. */
  occupantId: string | null;
};

/** A received message, as it becomes a row. */
export type Incoming = {
  stanza: string;
  from: string | null;
  to: string | null;
  subject: string | null;
  body: string | null;
  type: string;
  id: string | null;
  originId: string | null;
  archiveId: string | null;
  thread: string | null;
  lang: string | null;
  delayedAt: Date | null;
  errorCondition: string | null;
  content: Partial<IncomingContent> | null;
  /** Of a message of another client of the account (XEP-0280). */
  carbon: 'sent' | 'received' | null;
};

/** A message's place in the account's own archive. */
export type Archived = {
  id: string;
  /** When it was archived; null for a message that comes live. */
  at: Date | null;
};

/** What a message says of one that we sent: that its room has it, it arrived, was read, or came back. */
export type Report = {
  kind: 'submitted' | 'delivered' | 'displayed' | 'failed';
  /** The id of our message. */
  id: string;
  from: string | null;
  error: StanzaError | null;
  stanza: string;
};

export type Reading = {
  /** Null when there is nothing to keep, as of a mere receipt. */
  incoming: Incoming | null;
  report: Report | null;
  wantsReceipt: boolean;
};

const firstText = (message: Element, name: string): string | null =>
  message.getChild(name)?.text() ?? null;

/** Who does not say by whom it was refused has refused it himself. */
const readError = (message: Element): StanzaError => {
  const error = readStanzaError(message);
  return { ...error, by: error.by ?? message.attrs.from ?? null };
};

const readReport = (message: Element, type: string, stanza: string): Report | null => {
  const { from = null, id } = message.attrs;
  if (type === 'error') {
    return id ? { kind: 'failed', id, from, error: readError(message), stanza } : null;
  }
  const displayed = message.getChild('displayed', NS_MARKERS)?.attrs.id;
  if (displayed) return { kind: 'displayed', id: displayed, from, error: null, stanza };
  const received =
    message.getChild('received', NS_RECEIPTS)?.attrs.id ??
    message.getChild('received', NS_MARKERS)?.attrs.id;
  return received ? { kind: 'delivered', id: received, from, error: null, stanza } : null;
};

const PASSING = new Set([
  NS_RECEIPTS,
  NS_MARKERS,
  NS_CHAT_STATES,
  NS_HINTS,
  NS_EVENT,
  NS_STANZA_ID,
]);

/** Whether the message holds nothing but signals of the moment, such as that someone is typing. */
const isSignal = (message: Element): boolean =>
  message.getChildElements().length > 0 &&
  message
    .getChildElements()
    .every((element) => element.getName() === 'thread' || PASSING.has(element.getNS() ?? ''));

const describeError = (error: StanzaError | null) =>
  error && { errorType: error.type, errorText: error.text, errorBy: error.by };

/** A room takes out what its occupants forge (XEP-0421 §4); others do not. */
const readOccupant = (message: Element): string | null =>
  message.attrs.type === 'groupchat' ? readOccupantId(message) : null;

/** Without what most messages have not; null when that is all. */
const compact = (content: IncomingContent): Partial<IncomingContent> | null => {
  const found = Object.entries(content).filter(([, value]) => value !== null && value !== false);
  return found.length === 0 ? null : Object.fromEntries(found);
};

/** Text must fit a column: Postgres takes every character but NUL, which XML cannot carry either. */
const readIncoming = (message: Element, type: string, stanza: string, ownJid: string): Incoming => {
  const { from = null, to = null, id = null } = message.attrs;
  // The last one: Prosody 0.12 puts its own behind one that the sender has forged.
  const archived = message
    .getChildren('stanza-id', NS_STANZA_ID)
    .findLast((element) => element.attrs.by === ownJid);
  const error = type === 'error' ? readError(message) : null;
  const { body, ...content } = readContent(message);
  return {
    stanza,
    from,
    to,
    subject: firstText(message, 'subject'),
    body,
    type,
    id,
    originId: message.getChild('origin-id', NS_STANZA_ID)?.attrs.id ?? null,
    archiveId: archived?.attrs.id ?? null,
    thread: firstText(message, 'thread'),
    lang: message.attrs['xml:lang'] ?? message.getChild('body')?.attrs['xml:lang'] ?? null,
    delayedAt: readDelay(message),
    errorCondition: error?.condition ?? null,
    content: compact({ ...content, ...describeError(error), occupantId: readOccupant(message) }),
    carbon: null,
  };
};

/**
 * @param ownJid the bare JID of the account: only its own server's archive ids count (XEP-0359 §6); of what
 *   a room sends, that of the room
 */
export const readMessage = (message: Element, ownJid: string): Reading => {
  const stated = message.attrs.type ?? 'normal';
  // An unknown type is to be taken for normal (RFC 6121 §5.2.2).
  const type = MESSAGE_TYPES.includes(stated) ? stated : 'normal';
  const stanza = formatElement(message);
  const report = readReport(message, type, stanza);
  const isKept = type === 'error' || !isSignal(message);
  const { id, from } = message.attrs;
  const asks = message.getChild('request', NS_RECEIPTS) !== undefined;
  return {
    incoming: isKept ? readIncoming(message, type, stanza, ownJid) : null,
    report,
    wantsReceipt:
      asks && id !== undefined && from !== undefined && type !== 'error' && type !== 'groupchat',
  };
};

/** The receipt for a message (XEP-0184 §5.3). */
export const buildReceipt = ({ attrs: { from = '', id = '', type } }: Element): string =>
  `<message to='${escapeAttribute(from)}'${type === 'chat' ? " type='chat'" : ''}>` +
  `<received xmlns='${NS_RECEIPTS}' id='${escapeAttribute(id)}'/><store xmlns='${NS_HINTS}'/></message>`;

export type Presence = { show: string | null; status: string | null; priority: number };

/**
 * @param more what else it carries, as XML
 * @throws RejectError when the status has a character that XML cannot carry
 */
export const buildPresence = ({ show, status, priority }: Presence, more = ''): string =>
  `<presence>${formatText('show', show, 'show')}${formatText('status', status, 'status')}` +
  `${priority === 0 ? '' : `<priority>${priority}</priority>`}${more}</presence>`;
