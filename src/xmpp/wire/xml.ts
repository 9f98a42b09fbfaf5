/** XML as text: what may be written, how it is escaped, and elements written out. */
import type { Element } from '@xmpp/client';
import { RejectError } from '../../errors.ts';

/** How deeply elements may nest, the stanza being 1. Some thousand levels bring servers down. */
export const maxStanzaDepth = 128;

const references: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};
const reference = (char: string): string => references[char] ?? char;

/** Escapes character data. A carriage return is escaped as well, since a parser makes it a newline. */
export const escapeText = (text: string): string => text.replace(/[&<>\r]/g, reference);

/** Escapes an attribute value for either quote, and white space that a parser makes a blank. */
export const escapeAttribute = (text: string): string => text.replace(/[&<>"'\t\n\r]/g, reference);

const noncharacter = /[\0-\x08\x0B\x0C\x0E-\x1F\uFFFE\uFFFF]/;
const illegal = /[\0-\x08\x0B\x0C\x0E-\x1F\uD800-\uDFFF\uFFFE\uFFFF]/u;

/**
 * Finds the first character that XML 1.0 has no way to write (its Char production), lone surrogates
 * included. Servers end the whole stream over one.
 *
 * @returns its index in the string, in UTF-16 units; null when the text is clean
 */
export const findIllegalChar = (text: string): number | null => {
  // The expression that tells lone surrogates from pairs is five times slower than both tests.
  if (!noncharacter.test(text) && text.isWellFormed()) return null;
  return text.search(illegal);
};

/** @throws RejectError `bad-request` for a text that XML has no way to write; it is given back else */
export const requireLegal = (text: string): string => {
  const at = findIllegalChar(text);
  if (at === null) return text;
  const code = text.charCodeAt(at).toString(16).toUpperCase().padStart(4, '0');
  throw new RejectError(`the character U+${code} is not allowed in XML`, 'bad-request');
};

/** Not all that XML asks of a name, but nothing in it can end the name early. */
const requireName = (name: string): string => {
  if (/^[^\s"'&/<=>]+$/.test(name)) return requireLegal(name);
  throw new RejectError('an element or attribute has a malformed name', 'bad-request');
};

const formatAttributes = (attributes: Record<string, unknown>): string => {
  let text = '';
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null) continue;
    text += ` ${requireName(name)}="${escapeAttribute(requireLegal(String(value)))}"`;
  }
  return text;
};

const formatNode = (node: Element | string, depth: number): string => {
  if (typeof node === 'string') return escapeText(requireLegal(node));
  if (depth > maxStanzaDepth) {
    throw new RejectError(`elements nest deeper than ${maxStanzaDepth}`, 'policy-violation');
  }
  const name = requireName(node.name);
  const start = `<${name}${formatAttributes(node.attrs)}`;
  if (node.children.length === 0) return `${start}/>`;
  let content = '';
  for (const child of node.children) content += formatNode(child, depth + 1);
  return `${start}>${content}</${name}>`;
};

/**
 * Writes an element so that reading it gives the same element. Unlike the element's own `toString` it
 * keeps carriage returns and an attribute's white space, and cannot overflow the stack.
 *
 * @throws RejectError on a character or name that XML does not allow, and beyond `maxStanzaDepth`
 */
export const formatElement = (element: Element): string => formatNode(element, 1);
