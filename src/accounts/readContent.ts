/** What a received message holds besides subject and thread: from XML to columns. */
import type { Element } from '@xmpp/client';
import { readPlainText } from '../xmpp/wire/plainText.ts';
import { cleanXhtml, formatXhtml, xhtmlImNs, xhtmlNs } from '../xmpp/wire/xhtml.ts';
import {
  CHAT_STATES,
  type Content,
  HINTS,
  isFetchable,
  MAX_ID_CHARS,
  MAX_REACTIONS,
  NS,
  parseReaction,
} from './content.ts';

/** The first child in the message's own namespace; others may have a body as well. */
const ownChild = (message: Element, name: string): Element | undefined =>
  message.getChildren(name).find((child) => child.getNS() === message.getNS());

/** What is longer than any id would only break an index. */
const readId = (element: Element | undefined): string | null => {
  const id = element?.attrs.id;
  return id && [...id].length <= MAX_ID_CHARS ? id : null;
};

/** A retraction is recognised as it is since 2023, and as it was fastened before. */
const readRetraction = (message: Element): string | null => {
  const fastened = message
    .getChildren('apply-to', NS.fasten)
    .find((element) => element.getChild('retract', NS.oldRetract));
  return readId(message.getChild('retract', NS.retract)) ?? readId(fastened);
};

const readReactions = (message: Element): Pick<Content, 'reactionTo' | 'reactions'> => {
  const element = message.getChild('reactions', NS.reactions);
  const reactionTo = readId(element);
  if (!element || reactionTo === null) return { reactionTo: null, reactions: null };
  const texts = element.getChildren('reaction', NS.reactions).map((child) => child.text());
  const reactions = texts.map(parseReaction).filter((reaction) => reaction !== null);
  return { reactionTo, reactions: [...new Set(reactions)].slice(0, MAX_REACTIONS) };
};

const readReply = (message: Element): Pick<Content, 'replyToId' | 'replyToJid'> => {
  const reply = message.getChild('reply', NS.reply);
  const replyToId = readId(reply);
  return { replyToId, replyToJid: replyToId === null ? null : reply?.attrs.to || null };
};

const readOob = (message: Element): string | null => {
  const url = message.getChild('x', NS.oob)?.getChild('url', NS.oob)?.text().trim();
  return url && isFetchable(url) ? url : null;
};

const readHints = (message: Element): string[] | null => {
  const names = message
    .getChildElements()
    .filter((child) => child.getNS() === NS.hints && HINTS.includes(child.getName()))
    .map((child) => child.getName());
  return names.length === 0 ? null : [...new Set(names)];
};

/** Payloads that are known without being named by XEP-0380. */
const ENCRYPTED: [name: string, xmlns: string][] = [
  ['encrypted', 'eu.siacs.conversations.axolotl'],
  ['encrypted', 'urn:xmpp:omemo:1'],
  ['encrypted', 'urn:xmpp:omemo:2'],
  ['openpgp', 'urn:xmpp:openpgp:0'],
  ['x', 'jabber:x:encrypted'],
];

const readEncryption = (message: Element): string | null => {
  const stated = message.getChild('encryption', NS.encryption)?.attrs.namespace;
  const found = ENCRYPTED.find(([name, xmlns]) => message.getChild(name, xmlns));
  return stated || (found?.[1] ?? null);
};

/** The clean `<body/>` of XHTML-IM in the language of the plain one, or else the first. */
const readXhtml = (message: Element): Element | null => {
  const bodies = message.getChild('html', xhtmlImNs)?.getChildren('body', xhtmlNs) ?? [];
  const lang = ownChild(message, 'body')?.attrs['xml:lang'];
  const body = bodies.find((element) => element.attrs['xml:lang'] === lang) ?? bodies[0];
  return body ? cleanXhtml(body) : null;
};

type Range = { start: number; end: number };

/** Bounds count code points (XEP-0426); without them the whole body is meant. */
const readRange = ({ attrs: { start = '0', end } }: Element): Range | null => {
  const isCount = (text: string): boolean => /^\d{1,9}$/.test(text);
  if (!isCount(start) || (end !== undefined && !isCount(end))) return null;
  return { start: Number(start), end: end === undefined ? Number.POSITIVE_INFINITY : Number(end) };
};

const WHOLE: Range = { start: 0, end: Number.POSITIVE_INFINITY };

const readRanges = (fallback: Element): Range[] => {
  if (fallback.getChildElements().length === 0) return [WHOLE];
  return fallback
    .getChildren('body', NS.fallback)
    .map(readRange)
    .filter((range) => range !== null);
};

/** @returns null when nothing is left of it */
const cutRanges = (text: string, ranges: Range[]): string | null => {
  if (ranges.length === 0) return text;
  const chars = [...text];
  const kept = new Array<boolean>(chars.length).fill(true);
  for (const { start, end } of ranges) kept.fill(false, start, Math.min(end, chars.length));
  return chars.filter((_, index) => kept[index]).join('') || null;
};

/** What stands in the body only for those who do not understand what we do (XEP-0428). */
const findFallbacks = (message: Element, content: Content): Element[] => {
  const understood: (string | undefined)[] = [];
  if (content.replyToId !== null) understood.push(NS.reply);
  if (content.reactionTo !== null) understood.push(NS.reactions);
  // The older retractions mark their fallback without saying what for.
  if (content.retractsId !== null) understood.push(NS.retract, NS.oldRetract, undefined);
  return message
    .getChildren('fallback', NS.fallback)
    .filter((fallback) => understood.includes(fallback.attrs.for));
};

const MAX_RANGES = 64;

const readBody = (message: Element, content: Content, xhtml: Element | null): string | null => {
  const body = ownChild(message, 'body')?.text();
  if (body === undefined) return xhtml === null ? null : readPlainText(xhtml) || null;
  const ranges = findFallbacks(message, content).flatMap(readRanges);
  return cutRanges(body, ranges.slice(0, MAX_RANGES));
};

/**
 * @returns the body without what is a fallback for what was understood, such as the quote of a reply; taken
 *   from XHTML when there is none; null when nothing is left. Script is never in a URL or in XHTML
 */
export const readContent = (message: Element): Content & { body: string | null } => {
  const xhtml = readXhtml(message);
  const content: Content = {
    messageHtml: xhtml === null ? null : formatXhtml(xhtml).trim() || null,
    oobUrl: readOob(message),
    replacesId: readId(message.getChild('replace', NS.correct)),
    retractsId: readRetraction(message),
    ...readReactions(message),
    ...readReply(message),
    markable: message.getChild('markable', NS.markers) !== undefined,
    displayedId: readId(message.getChild('displayed', NS.markers)),
    chatState: CHAT_STATES.find((state) => message.getChild(state, NS.chatStates)) ?? null,
    hints: readHints(message),
    encryption: readEncryption(message),
  };
  return { ...content, body: readBody(message, content, xhtml) };
};
