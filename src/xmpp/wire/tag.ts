/** Elements as text: what the codecs of this folder write with, so that none of them escapes by hand. */
import { escapeAttribute, escapeText, requireLegal } from './xml.ts';

/** Attributes without a value are left out. Names are the codec's own, not a user's. */
export type Attributes = Record<string, string | number | null | undefined>;

/**
 * @param content XML, taken as it is
 * @throws RejectError `bad-request` when a value has a character that XML does not allow
 */
export const formatTag = (name: string, attributes: Attributes, content = ''): string => {
  let start = `<${name}`;
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    start += ` ${key}='${escapeAttribute(requireLegal(String(value)))}'`;
  }
  return content === '' ? `${start}/>` : `${start}>${content}</${name}>`;
};

/**
 * An element that holds nothing but text.
 *
 * @param text nothing is written at all for null; an empty element for the empty text
 * @throws RejectError `bad-request` when the text has a character that XML does not allow
 */
export const formatTextTag = (
  name: string,
  text: string | number | null | undefined,
  attributes: Attributes = {},
): string =>
  text === null || text === undefined
    ? ''
    : formatTag(name, attributes, escapeText(requireLegal(String(text))));
