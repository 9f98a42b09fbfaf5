/** What a message holds besides subject, body and thread: from columns to XML. */
import type { Element } from '@xmpp/client';
import { RejectError } from '../errors.ts';
import { readPlainText } from '../xmpp/wire/plainText.ts';
import type { XmlLimits } from '../xmpp/wire/reader.ts';
import { readScheme } from '../xmpp/wire/uri.ts';
import { cleanXhtml, formatXhtml, parseXhtml, xhtmlImNs, xhtmlNs } from '../xmpp/wire/xhtml.ts';
import { escapeAttribute, escapeText } from '../xmpp/wire/xml.ts';
import { formatText, requireJid, requireText } from './text.ts';

export const NS = {
  oob: 'jabber:x:oob',
  correct: 'urn:xmpp:message-correct:0',
  retract: 'urn:xmpp:message-retract:1',
  oldRetract: 'urn:xmpp:message-retract:0',
  fasten: 'urn:xmpp:fasten:0',
  reactions: 'urn:xmpp:reactions:0',
  reply: 'urn:xmpp:reply:0',
  fallback: 'urn:xmpp:fallback:0',
  markers: 'urn:xmpp:chat-markers:0',
  chatStates: 'http://jabber.org/protocol/chatstates',
  hints: 'urn:xmpp:hints',
  encryption: 'urn:xmpp:eme:0',
} as const;

export const CHAT_STATES = ['active', 'composing', 'paused', 'inactive', 'gone'] as const;
export const HINTS: string[] = ['no-permanent-store', 'no-store', 'no-copy', 'store'];

export const MAX_ID_CHARS = 1023;
export const MAX_REACTIONS = 50;
export const MAX_REACTION_CHARS = 64;

export type ChatState = (typeof CHAT_STATES)[number];

/** Each field is a column of both queues. */
export type Content = {
  /** The content of XHTML-IM's body, clean (XEP-0071). */
  messageHtml: string | null;
  /** Where a file is (XEP-0066 §3). */
  oobUrl: string | null;
  /** The message that this one corrects (XEP-0308). */
  replacesId: string | null;
  /** The message that is taken back (XEP-0424). */
  retractsId: string | null;
  /** The message reacted to (XEP-0444). */
  reactionTo: string | null;
  /** All that there are from the sender to that message; none when they are taken back. */
  reactions: string[] | null;
  /** The message answered, and who wrote it (XEP-0461). */
  replyToId: string | null;
  replyToJid: string | null;
  /** Whether the sender wants to know when it is displayed (XEP-0333). */
  markable: boolean;
  /** The last message of the recipient's that was displayed (XEP-0333). */
  displayedId: string | null;
  chatState: ChatState | null;
  /** What servers are asked to do with it (XEP-0334). */
  hints: string[] | null;
  /** The namespace of the encryption (XEP-0380). */
  encryption: string | null;
};

/** What a row asks to be sent; its text stands here too, since the two depend on each other. */
export type OutgoingContent = Partial<Omit<Content, 'chatState'>> & {
  chatState?: string | null;
  messageSubject?: string | null;
  messageBody?: string | null;
};

type Key = keyof OutgoingContent;

const columnOf = (key: Key): string => key.replace(/[A-Z]/g, (char) => `_${char.toLowerCase()}`);
const isSet = (content: OutgoingContent, key: Key): boolean =>
  content[key] !== null && content[key] !== undefined;
const reject = (what: string): RejectError => new RejectError(what, 'bad-request');

/** Of these a message holds one alone. */
const ALONE: Key[] = ['retractsId', 'reactionTo', 'displayedId'];
const BODIES: Key[] = ['messageBody', 'messageHtml', 'oobUrl'];
const TEXTS: Key[] = ['messageSubject', ...BODIES, 'replacesId', 'replyToId'];

/** Whether the message has something to be read, so that receipts and markers make sense. */
export const hasText = (content: OutgoingContent): boolean =>
  BODIES.some((key) => isSet(content, key));

const findAlone = (content: OutgoingContent): Key | undefined =>
  ALONE.find((key) => isSet(content, key));

/** Whether it is nothing but a signal of the moment, which is neither stored nor sent again. */
export const isPassing = (content: OutgoingContent): boolean =>
  isSet(content, 'chatState') && ![...ALONE, ...TEXTS].some((key) => isSet(content, key));

const requireSense = (content: OutgoingContent): void => {
  const needs = (key: Key, needed: Key): void => {
    if (!isSet(content, key) || isSet(content, needed)) return;
    throw reject(`${columnOf(key)} is set without ${columnOf(needed)}`);
  };
  needs('reactions', 'reactionTo');
  needs('reactionTo', 'reactions');
  needs('replyToJid', 'replyToId');
  const alone = findAlone(content);
  const other = [...ALONE, ...TEXTS].find((key) => key !== alone && isSet(content, key));
  if (alone && other) {
    throw reject(`${columnOf(alone)} goes alone, and ${columnOf(other)} is set as well`);
  }
  for (const key of ['replacesId', 'replyToId'] satisfies Key[]) {
    if (isSet(content, key) && !hasText(content)) {
      throw reject(`${columnOf(key)} is set, and there is no message_body to send with it`);
    }
  }
};

/** Postgres counts characters as code points. */
const countChars = (text: string): number => [...text].length;

const requireId = (id: string, column: string): string => {
  const isId = id !== '' && countChars(requireText(id, column)) <= MAX_ID_CHARS;
  if (isId) return escapeAttribute(id);
  throw reject(`${column} has to be an id of 1 to ${MAX_ID_CHARS} characters`);
};

/** An element that does nothing but name a message. */
const formatId = (name: string, xmlns: string, id: string | null | undefined, key: Key): string =>
  typeof id === 'string' ? `<${name} xmlns='${xmlns}' id='${requireId(id, columnOf(key))}'/>` : '';

const readHtml = (html: string, limits: XmlLimits): Element => {
  const column = columnOf('messageHtml');
  try {
    const clean = cleanXhtml(parseXhtml(requireText(html, column), limits));
    if (readPlainText(clean) !== '') return clean;
  } catch (error) {
    if (!(error instanceof RejectError) || error.message.startsWith(column)) throw error;
    throw new RejectError(`${column}: ${error.message}`, error.condition, { cause: error });
  }
  throw reject(`${column} holds nothing that XHTML-IM allows`);
};

const formatHtml = (clean: Element | null): string =>
  clean === null
    ? ''
    : `<html xmlns='${xhtmlImNs}'><body xmlns='${xhtmlNs}'>${formatXhtml(clean)}</body></html>`;

const RETRACTED =
  `<body>/me retracted a previous message, but it's unsupported by your client.</body>` +
  `<fallback xmlns='${NS.fallback}' for='${NS.retract}'/>`;

const formatBody = (content: OutgoingContent, html: Element | null): string => {
  if (isSet(content, 'retractsId')) return RETRACTED;
  const plain = html === null ? content.oobUrl : readPlainText(html);
  return formatText('body', content.messageBody ?? plain ?? null, columnOf('messageBody'));
};

const SCRIPTS = ['data', 'javascript', 'vbscript'];

/** Whether it is an absolute URI that runs nothing where it is opened. */
export const isFetchable = (url: string): boolean => {
  const scheme = readScheme(url);
  return scheme !== null && !SCRIPTS.includes(scheme);
};

const formatOob = (url: string | null | undefined): string => {
  if (typeof url !== 'string') return '';
  if (!isFetchable(requireText(url, 'oob_url'))) {
    throw reject('oob_url is no absolute URI, such as https://example.org/photo.jpg');
  }
  return `<x xmlns='${NS.oob}'><url>${escapeText(url)}</url></x>`;
};

/** @returns null for what is no reaction */
export const parseReaction = (text: string | null): string | null => {
  const reaction = text?.trim() ?? '';
  return reaction !== '' && countChars(reaction) <= MAX_REACTION_CHARS ? reaction : null;
};

const formatReaction = (text: string): string => {
  const reaction = parseReaction(text);
  if (reaction !== null) return formatText('reaction', reaction, 'reactions');
  throw reject(`reactions has one that is not of 1 to ${MAX_REACTION_CHARS} characters`);
};

const formatReactions = ({ reactionTo, reactions }: OutgoingContent): string => {
  if (typeof reactionTo !== 'string' || !reactions) return '';
  const elements = [...new Set(reactions.map(formatReaction))];
  if (elements.length > MAX_REACTIONS) throw reject(`reactions are more than ${MAX_REACTIONS}`);
  const id = requireId(reactionTo, columnOf('reactionTo'));
  return `<reactions xmlns='${NS.reactions}' id='${id}'>${elements.join('')}</reactions>`;
};

const formatReply = ({ replyToId, replyToJid }: OutgoingContent): string => {
  if (typeof replyToId !== 'string') return '';
  const id = requireId(replyToId, columnOf('replyToId'));
  const column = columnOf('replyToJid');
  const to =
    typeof replyToJid === 'string'
      ? ` to='${escapeAttribute(requireJid(replyToJid, column))}'`
      : '';
  return `<reply xmlns='${NS.reply}'${to} id='${id}'/>`;
};

const formatChatState = (state: string | null | undefined): string => {
  if (typeof state !== 'string') return '';
  if (CHAT_STATES.some((known) => known === state)) return `<${state} xmlns='${NS.chatStates}'/>`;
  throw reject(`chat_state is none of ${CHAT_STATES.join(', ')}`);
};

/** What is said of storing is not said over by what goes without saying. */
const chooseHints = (content: OutgoingContent): Set<string> => {
  const hints = new Set(content.hints ?? []);
  if (hints.has('store') || hints.has('no-store') || hints.has('no-permanent-store')) return hints;
  if (isPassing(content)) hints.add('no-store');
  if (findAlone(content)) hints.add('store');
  return hints;
};

const formatHints = (content: OutgoingContent): string => {
  const hints = chooseHints(content);
  for (const hint of hints) {
    if (!HINTS.includes(hint)) throw reject(`hints has one that is none of ${HINTS.join(', ')}`);
  }
  if (hints.has('store') && (hints.has('no-store') || hints.has('no-permanent-store'))) {
    throw reject('hints has store together with its opposite');
  }
  return [...hints].map((hint) => `<${hint} xmlns='${NS.hints}'/>`).join('');
};

const formatEncryption = (namespace: string | null | undefined): string => {
  if (typeof namespace !== 'string') return '';
  const isToken = /^\S+$/.test(requireText(namespace, 'encryption'));
  if (!isToken || countChars(namespace) > MAX_ID_CHARS) {
    throw reject('encryption is no namespace, such as urn:xmpp:omemo:2');
  }
  return `<encryption xmlns='${NS.encryption}' namespace='${escapeAttribute(namespace)}'/>`;
};

/**
 * The children of the message, `<body/>` included, but for `<subject/>` and `<thread/>`.
 *
 * Without a body of its own a message says in plain what it says in XHTML, or else where the file is: clients
 * show a file if the body is nothing but its URL. No quote is made up for a reply.
 *
 * @param limits for message_html
 * @throws RejectError with the column that is wrong, or contradicts another
 */
export const buildContent = (content: OutgoingContent, limits: XmlLimits = {}): string => {
  requireSense(content);
  const html =
    typeof content.messageHtml === 'string' ? readHtml(content.messageHtml, limits) : null;
  const isMarkable = content.markable === true && hasText(content);
  // Before the body, which may be the same: it is the URL's column that a wrong one is refused by.
  const oob = formatOob(content.oobUrl);
  return (
    formatBody(content, html) +
    formatHtml(html) +
    oob +
    formatId('replace', NS.correct, content.replacesId, 'replacesId') +
    formatId('retract', NS.retract, content.retractsId, 'retractsId') +
    formatReactions(content) +
    formatReply(content) +
    (isMarkable ? `<markable xmlns='${NS.markers}'/>` : '') +
    formatId('displayed', NS.markers, content.displayedId, 'displayedId') +
    formatChatState(content.chatState) +
    formatEncryption(content.encryption) +
    formatHints(content)
  );
};
