/** Columns on their way into a stanza: refused by their name where XML or XMPP has no room for them. */
import { RejectError } from '../errors.ts';
import { formatJid, parseJid } from '../xmpp/wire/jid.ts';
import { escapeText, findIllegalChar } from '../xmpp/wire/xml.ts';

/** @throws RejectError with the column, the character and its place */
export const requireText = (text: string, column: string): string => {
  const at = findIllegalChar(text);
  if (at === null) return text;
  const code = text.charCodeAt(at).toString(16).toUpperCase().padStart(4, '0');
  throw new RejectError(
    `${column} has the character U+${code} at position ${at + 1}, which XML cannot carry`,
    'bad-request',
  );
};

/** An element that holds a column's text; nothing at all for null. */
export const formatText = (name: string, text: string | null, column: string): string =>
  text === null ? '' : `<${name}>${escapeText(requireText(text, column))}</${name}>`;

/** @returns the JID in its normal form @throws RejectError with the column and what is wrong with it */
export const requireJid = (text: string, column: string): string => {
  try {
    return formatJid(parseJid(text.trim()));
  } catch (error) {
    if (!(error instanceof RejectError)) throw error;
    throw new RejectError(`${column} is no JID: ${error.message}`, error.condition, {
      cause: error,
    });
  }
};
