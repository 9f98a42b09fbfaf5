/** Messages of the XMPP queues as stanzas, and back. Strings on the way out, since that path is hot. */
import type { Element } from '@xmpp/client';
import { RejectError } from '../errors.ts';
import { parseFragment } from '../xmpp/wire/fragment.ts';
import { formatJid, parseJid } from '../xmpp/wire/jid.ts';
import { escapeAttribute, escapeText, findIllegalChar, formatElement } from '../xmpp/wire/xml.ts';

const NS_CLIENT = 'jabber:client';
const NS_RECEIPTS = 'urn:xmpp:receipts';
const NS_MARKERS = 'urn:xmpp:chat-markers:0';
const NS_STANZA_ID = 'urn:xmpp:sid:0';
const NS_DELAY = 'urn:xmpp:delay';
const NS_LEGACY_DELAY = 'jabber:x:delay';
const NS_CHAT_STATES = 'http://jabber.org/protocol/chatstates';
const NS_EVENT = 'http://jabber.org/protocol/pubsub#event';
const NS_HINTS = 'urn:xmpp:hints';
const NS_STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas';

export const MESSAGE_TYPES = ['normal', 'chat', 'groupchat', 'headline', 'error'];

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
};

const requireText = (text: string, column: string): string => {
  const at = findIllegalChar(text);
  if (at === null) return text;
  const code = text.charCodeAt(at).toString(16).toUpperCase().padStart(4, '0');
  throw new RejectError(
    `${column} has the character U+${code} at position ${at + 1}, which XML cannot carry`,
    'bad-request',
  );
};

const child = (name: string, text: string | null, column: string): string =>
  text === null ? '' : `<${name}>${escapeText(requireText(text, column))}</${name}>`;

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
  try {
    return formatJid(parseJid(text.trim()));
  } catch (error) {
    if (!(error instanceof RejectError)) throw error;
    throw new RejectError(`${column} is no JID: ${error.message}`, error.condition, {
      cause: error,
    });
  }
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
  const wantsReceipt =
    row.requestReceipt && row.messageBody !== null && (type === 'chat' || type === 'normal');
  const text = requireSize(
    `<message to='${escapeAttribute(to)}' type='${type}' id='${id}'${lang}>` +
      child('subject', row.messageSubject, 'message_subject') +
      child('body', row.messageBody, 'message_body') +
      child('thread', row.thread, 'thread') +
      `${wantsReceipt ? RECEIPT_REQUEST : ''}<origin-id xmlns='${NS_STANZA_ID}' id='${id}'/></message>`,
    maxBytes,
  );
  return { text, to, type };
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
};

/** What a message says of one that we sent: that it arrived, was read, or came back. */
export type Report = {
  kind: 'delivered' | 'displayed' | 'failed';
  /** The id of our message. */
  id: string;
  from: string | null;
  /** The condition of an error. */
  condition: string | null;
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

const readDate = (text: string | undefined): Date | null => {
  if (!text) return null;
  const legacy = /^(\d{4})(\d\d)(\d\d)T(\d\d:\d\d:\d\d)$/.exec(text);
  const date = new Date(legacy ? `${legacy[1]}-${legacy[2]}-${legacy[3]}T${legacy[4]}Z` : text);
  return Number.isNaN(date.getTime()) ? null : date;
};

const readCondition = (message: Element): string | null =>
  message
    .getChild('error')
    ?.getChildElements()
    .find((element) => element.getNS() === NS_STANZAS && element.getName() !== 'text')
    ?.getName() ?? null;

const readReport = (message: Element, type: string, stanza: string): Report | null => {
  const { from = null, id } = message.attrs;
  if (type === 'error') {
    const condition = readCondition(message) ?? 'undefined-condition';
    return id ? { kind: 'failed', id, from, condition, stanza } : null;
  }
  const displayed = message.getChild('displayed', NS_MARKERS)?.attrs.id;
  if (displayed) return { kind: 'displayed', id: displayed, from, condition: null, stanza };
  const received =
    message.getChild('received', NS_RECEIPTS)?.attrs.id ??
    message.getChild('received', NS_MARKERS)?.attrs.id;
  return received ? { kind: 'delivered', id: received, from, condition: null, stanza } : null;
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
const isPassing = (message: Element): boolean =>
  message.getChildElements().length > 0 &&
  message
    .getChildElements()
    .every((element) => element.getName() === 'thread' || PASSING.has(element.getNS() ?? ''));

/** Text must fit a column: Postgres takes every character but NUL, which XML cannot carry either. */
const readIncoming = (message: Element, type: string, stanza: string, ownJid: string): Incoming => {
  const { from = null, to = null, id = null } = message.attrs;
  // The last one: Prosody 0.12 puts its own behind one that the sender has forged.
  const archived = message
    .getChildren('stanza-id', NS_STANZA_ID)
    .findLast((element) => element.attrs.by === ownJid);
  const delay = message.getChild('delay', NS_DELAY) ?? message.getChild('x', NS_LEGACY_DELAY);
  return {
    stanza,
    from,
    to,
    subject: firstText(message, 'subject'),
    body: firstText(message, 'body'),
    type,
    id,
    originId: message.getChild('origin-id', NS_STANZA_ID)?.attrs.id ?? null,
    archiveId: archived?.attrs.id ?? null,
    thread: firstText(message, 'thread'),
    lang: message.attrs['xml:lang'] ?? message.getChild('body')?.attrs['xml:lang'] ?? null,
    delayedAt: readDate(delay?.attrs.stamp),
    errorCondition: type === 'error' ? (readCondition(message) ?? 'undefined-condition') : null,
  };
};

/** @param ownJid the bare JID of the account: only its own server's archive ids count (XEP-0359 §6) */
export const readMessage = (message: Element, ownJid: string): Reading => {
  const stated = message.attrs.type ?? 'normal';
  // An unknown type is to be taken for normal (RFC 6121 §5.2.2).
  const type = MESSAGE_TYPES.includes(stated) ? stated : 'normal';
  const stanza = formatElement(message);
  const report = readReport(message, type, stanza);
  const isKept = type === 'error' || !isPassing(message);
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

/** @throws RejectError when the status has a character that XML cannot carry */
export const buildPresence = ({ show, status, priority }: Presence): string =>
  `<presence>${child('show', show, 'show')}${child('status', status, 'status')}` +
  `${priority === 0 ? '' : `<priority>${priority}</priority>`}</presence>`;

/** The answer to a subscription request (RFC 6121 §3.1.4). */
export const buildSubscriptionAnswer = (
  to: string,
  answer: 'subscribed' | 'unsubscribed',
): string => `<presence to='${escapeAttribute(to)}' type='${answer}'/>`;

const NS_PING = 'urn:xmpp:ping';
const NS_DISCO_INFO = 'http://jabber.org/protocol/disco#info';

const DISCO_INFO =
  `<query xmlns='${NS_DISCO_INFO}'><identity category='client' type='bot' name='Rowgram'/>` +
  [NS_DISCO_INFO, NS_PING, NS_RECEIPTS].map((feature) => `<feature var='${feature}'/>`).join('') +
  '</query>';

/**
 * The one answer that a request must get (RFC 6120 §8.2.3).
 *
 * @returns null for what is no request
 */
export const answerIq = (iq: Element): string | null => {
  const { type, id = '', from } = iq.attrs;
  if (type !== 'get' && type !== 'set') return null;
  const to = from === undefined ? '' : ` to='${escapeAttribute(from)}'`;
  const result = (content: string) =>
    `<iq type='result' id='${escapeAttribute(id)}'${to}>${content}</iq>`;
  if (type === 'get' && iq.getChild('ping', NS_PING)) return result('');
  const query = iq.getChild('query', NS_DISCO_INFO);
  if (type === 'get' && query && !query.attrs.node) return result(DISCO_INFO);
  return (
    `<iq type='error' id='${escapeAttribute(id)}'${to}>` +
    `<error type='cancel'><service-unavailable xmlns='${NS_STANZAS}'/></error></iq>`
  );
};
