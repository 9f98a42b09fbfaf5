/** XHTML-IM (XEP-0071): what a user wrote or a peer sent, cleaned of all that could do harm. */
import { type Element, xml } from '@xmpp/client';
import { RejectError } from '../../errors.ts';
import { cleanStyle } from './css.ts';
import { parseFragment } from './fragment.ts';
import type { XmlLimits } from './reader.ts';
import { readScheme } from './uri.ts';
import { escapeText, formatElement, requireLegal } from './xml.ts';

export const xhtmlNs = 'http://www.w3.org/1999/xhtml';
export const xhtmlImNs = 'http://jabber.org/protocol/xhtml-im';

/** Elements below it are taken apart, so that the content fits into any stanza. */
const maxDepth = 32;
const wrapper = `<body xmlns='${xhtmlNs}'>`;

const styled = (name: string): [string, string[]] => [name, ['style']];

/**
 * The elements that stay, with the attributes that do: the summary of recommendations (§7.8), and of the
 * text module (§6.2) also what may be sent (§7.2), since line breaks and code get lost without it.
 */
const allowed = new Map<string, string[]>([
  ['a', ['href', 'type', 'style']],
  ['img', ['src', 'alt', 'height', 'width', 'style']],
  ...['br', 'em', 'strong'].map((name): [string, string[]] => [name, []]),
  ...['blockquote', 'cite', 'li', 'ol', 'p', 'span', 'ul'].map(styled),
  ...['abbr', 'acronym', 'address', 'code', 'dfn', 'div', 'kbd', 'pre', 'q', 'samp'].map(styled),
  ...['var', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map(styled),
]);

/** What goes with all that it holds; of any other unknown element the content stays (§12.2). */
const dropped = new Set(
  (
    'applet audio base canvas embed frame frameset head iframe link math meta noembed noframes ' +
    'noscript object param script style svg template title video'
  ).split(' '),
);

const leaves = new Set(['br', 'img']);
const linkSchemes = ['http', 'https', 'mailto', 'xmpp'];
const imageSchemes = ['http', 'https'];

const cleanUri = (text: string, schemes: string[]): string | null => {
  const uri = text.trim();
  return schemes.includes(readScheme(uri) ?? '') ? uri : null;
};

const matching =
  (pattern: RegExp) =>
  (text: string): string | null =>
    pattern.exec(text.trim())?.[0] ?? null;

/** @returns what may be written; null for a value that may not */
const attributes: Record<string, (text: string) => string | null> = {
  alt: (text) => text,
  height: matching(/^\d{1,4}%?$/),
  href: (text) => cleanUri(text, linkSchemes),
  src: (text) => cleanUri(text, imageSchemes),
  style: cleanStyle,
  type: matching(/^[A-Za-z0-9.+-]{1,100}\/[A-Za-z0-9.+-]{1,100}$/),
  width: matching(/^\d{1,4}%?$/),
};

const cleanAttributes = (element: Element, names: string[]): Record<string, string> => {
  const clean: Record<string, string> = {};
  for (const name of names) {
    // Images are to have one (§7.7.2), in its place, so that what is clean is written as it was.
    const value = element.attrs[name] ?? (name === 'alt' ? '' : undefined);
    const text = value === undefined ? null : attributes[name]?.(value);
    if (text !== null && text !== undefined) clean[name] = text;
  }
  return clean;
};

/** @returns null for an element that does not stay itself, as a link that leads nowhere */
const copyElement = (element: Element, name: string): Element | null => {
  const names = allowed.get(name);
  if (!names) return null;
  const attrs = cleanAttributes(element, names);
  if (name === 'a' && attrs.href === undefined) return null;
  if (name === 'img' && attrs.src === undefined) return null;
  return new xml.Element(name, attrs);
};

const addText = (target: Element, text: string): void => {
  const last = target.children.length - 1;
  const previous = target.children[last];
  if (typeof previous === 'string') target.children[last] = previous + text;
  else if (text !== '') target.children.push(text);
};

const isDropped = (element: Element, name: string): boolean => {
  const xmlns = element.getNS();
  if (name === 'html' && xmlns === xhtmlImNs) return false;
  return xmlns !== xhtmlNs || dropped.has(name);
};

const cleanInto = (target: Element, source: Element, depth: number): void => {
  for (const child of source.children) {
    if (typeof child === 'string') addText(target, child);
    else cleanElement(target, child, depth);
  }
};

const cleanElement = (target: Element, element: Element, depth: number): void => {
  const name = element.getName().toLowerCase();
  if (isDropped(element, name)) return;
  const isLeaf = leaves.has(name);
  const copy = isLeaf || depth < maxDepth ? copyElement(element, name) : null;
  if (copy) target.append(copy);
  else if (name === 'img') addText(target, element.attrs.alt ?? '');
  if (copy && !isLeaf) cleanInto(copy, element, depth + 1);
  else cleanInto(target, element, depth);
};

/** The place is that in the text, not in the wrapper that was put around it. */
const moveBack = (error: RejectError): RejectError => {
  const message = error.message.replace(
    /^(the XML is refused: 1:)(\d+)/,
    (_, start: string, column: string) => `${start}${Number(column) - wrapper.length}`,
  );
  return new RejectError(message, error.condition, { cause: error });
};

/**
 * Reads what a user wrote: the content of `<body/>`, with or without its namespace. It is not clean.
 *
 * @throws RejectError as `parseFragment` does
 */
export const parseXhtml = (text: string, limits: XmlLimits = {}): Element => {
  try {
    return parseFragment(`${wrapper}${text}</body>`, limits);
  } catch (error) {
    throw error instanceof RejectError ? moveBack(error) : error;
  }
};

/**
 * Copies what is allowed, and nothing else: elements and attributes by their names, styles by their
 * values, and URIs by their schemes. Other namespaces go with all they hold.
 *
 * @param body in the XHTML namespace @returns a new `<body/>`
 */
export const cleanXhtml = (body: Element): Element => {
  const clean = new xml.Element('body', { xmlns: xhtmlNs });
  cleanInto(clean, body, 0);
  return clean;
};

/** The content of a clean `<body/>`, which `parseXhtml` reads. */
export const formatXhtml = (body: Element): string =>
  body.children
    .map((child) =>
      typeof child === 'string' ? escapeText(requireLegal(child)) : formatElement(child),
    )
    .join('');
