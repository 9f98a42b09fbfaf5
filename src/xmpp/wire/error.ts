/** Stanza errors (RFC 6120 §8.3). */
import type { Element } from '@xmpp/client';
import { formatTag, formatTextTag } from './tag.ts';

const stanzasNs = 'urn:ietf:params:xml:ns:xmpp-stanzas';

const types = ['auth', 'cancel', 'continue', 'modify', 'wait'] as const;

export type ErrorType = (typeof types)[number];

export type StanzaError = {
  type: ErrorType;
  /** As it was named, also one that RFC 6120 does not know. */
  condition: string;
  text: string | null;
  /** Who refused, if it says so. */
  by: string | null;
};

/** What is answered to a request that is not granted; the condition says of what type it is. */
export type ErrorDraft = { condition: string; text?: string | null };

/** The conditions, each with what the requester can do about it (§8.3.3). */
const typesByCondition = new Map<string, ErrorType>([
  ['bad-request', 'modify'],
  ['conflict', 'cancel'],
  ['feature-not-implemented', 'cancel'],
  ['forbidden', 'auth'],
  ['gone', 'cancel'],
  ['internal-server-error', 'cancel'],
  ['item-not-found', 'cancel'],
  ['jid-malformed', 'modify'],
  ['not-acceptable', 'modify'],
  ['not-allowed', 'cancel'],
  ['not-authorized', 'auth'],
  ['policy-violation', 'modify'],
  ['recipient-unavailable', 'wait'],
  ['redirect', 'modify'],
  ['registration-required', 'auth'],
  ['remote-server-not-found', 'cancel'],
  ['remote-server-timeout', 'wait'],
  ['resource-constraint', 'wait'],
  ['service-unavailable', 'cancel'],
  ['subscription-required', 'auth'],
  ['undefined-condition', 'cancel'],
  ['unexpected-request', 'wait'],
]);

export const errorConditions: readonly string[] = [...typesByCondition.keys()];

const typeOf = (condition: string): ErrorType => typesByCondition.get(condition) ?? 'cancel';

/** Without a language first, then in English, then in any. */
const chooseText = (texts: Element[]): string | null => {
  const langOf = (text: Element) => text.attrs['xml:lang']?.toLowerCase() ?? '';
  const chosen =
    texts.find((text) => langOf(text) === '') ??
    texts.find((text) => /^en(?:-|$)/.test(langOf(text))) ??
    texts[0];
  return chosen?.text().trim() || null;
};

/**
 * Of a broken error the rest counts: without a condition it is `undefined-condition`, and without a type
 * it is of the one that goes with the condition.
 *
 * @param stanza of the type `error`, which alone makes it one
 */
export const readStanzaError = (stanza: Element): StanzaError => {
  const error = stanza.getChildren('error').find((child) => child.getNS() === stanza.getNS());
  const children = error?.getChildElements() ?? [];
  const standard = children.filter((child) => child.getNS() === stanzasNs);
  const defined = standard.find((child) => child.getName() !== 'text');
  const condition = defined?.getName() ?? 'undefined-condition';
  return {
    type: types.find((known) => known === error?.attrs.type) ?? typeOf(condition),
    condition,
    text: chooseText(standard.filter((child) => child.getName() === 'text')),
    by: error?.attrs.by || null,
  };
};

/** For a person to read. */
export const describeStanzaError = ({ condition, text }: StanzaError): string =>
  text === null ? condition : `${condition} (${text})`;

/**
 * The `<error/>` alone. A condition that RFC 6120 does not know goes out as `undefined-condition`, since a
 * name of our own could not be told from one of a later standard (§8.3.3.21).
 *
 * @throws RejectError `bad-request` when the text has a character that XML does not allow
 */
export const formatStanzaError = ({ condition: stated, text }: ErrorDraft): string => {
  const condition = typesByCondition.has(stated) ? stated : 'undefined-condition';
  return formatTag(
    'error',
    { type: typeOf(condition) },
    formatTag(condition, { xmlns: stanzasNs }) +
      formatTextTag('text', text || null, { xmlns: stanzasNs }),
  );
};
