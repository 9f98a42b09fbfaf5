/** Stanza errors (RFC 6120 §8.3). */
import type { Element } from '@xmpp/client';
import { RejectError } from '../../errors.ts';
import { escapeAttribute, escapeText, requireLegal } from './xml.ts';

const stanzasNs = 'urn:ietf:params:xml:ns:xmpp-stanzas';

export type ErrorType = 'auth' | 'cancel' | 'continue' | 'modify' | 'wait';

export type StanzaError = {
  type: ErrorType;
  /** As it was named, also one that RFC 6120 does not know. */
  condition: string;
  text: string | null;
  /** Who refused, if it says so. */
  by: string | null;
  /** Where to turn instead, with `gone` and `redirect` (§8.3.3.5, §8.3.3.14). */
  redirect: string | null;
  /** What an extension calls it (§8.3.4). */
  application: { name: string; xmlns: string } | null;
};

const as =
  (type: ErrorType) =>
  (condition: string): [string, ErrorType] => [condition, type];

/** The types that go with the conditions (§8.3.3). */
const typesByCondition = new Map<string, ErrorType>([
  ...['bad-request', 'jid-malformed', 'not-acceptable', 'policy-violation', 'redirect'].map(
    as('modify'),
  ),
  ...['conflict', 'feature-not-implemented', 'gone', 'internal-server-error'].map(as('cancel')),
  ...['item-not-found', 'not-allowed', 'remote-server-not-found'].map(as('cancel')),
  ...['service-unavailable', 'undefined-condition'].map(as('cancel')),
  ...['forbidden', 'not-authorized', 'registration-required', 'subscription-required'].map(
    as('auth'),
  ),
  ...['recipient-unavailable', 'remote-server-timeout', 'resource-constraint'].map(as('wait')),
  ...['unexpected-request'].map(as('wait')),
]);

const types: string[] = ['auth', 'cancel', 'continue', 'modify', 'wait'] satisfies ErrorType[];
const isType = (text: string | undefined): text is ErrorType =>
  text !== undefined && types.includes(text);

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
 * @returns null for a stanza that is no error
 */
export const readStanzaError = (stanza: Element): StanzaError | null => {
  if (stanza.attrs.type !== 'error') return null;
  const error = stanza.getChildren('error').find((child) => child.getNS() === stanza.getNS());
  const children = error?.getChildElements() ?? [];
  const standard = children.filter((child) => child.getNS() === stanzasNs);
  const defined = standard.find((child) => child.getName() !== 'text');
  const condition = defined?.getName() ?? 'undefined-condition';
  const application = children.find(
    (child) => ![stanzasNs, stanza.getNS()].includes(child.getNS()),
  );
  return {
    type: isType(error?.attrs.type) ? error.attrs.type : typeOf(condition),
    condition,
    text: chooseText(standard.filter((child) => child.getName() === 'text')),
    by: error?.attrs.by || null,
    redirect: defined?.text().trim() || null,
    application: application
      ? { name: application.getName(), xmlns: application.getNS() ?? '' }
      : null,
  };
};

const requireName = (name: string): string => {
  if (/^[A-Za-z_][\w.-]*$/.test(name)) return name;
  throw new RejectError('a condition of an error has a malformed name', 'bad-request');
};

const attribute = (name: string, value: string | null | undefined): string =>
  value ? ` ${name}='${escapeAttribute(requireLegal(value))}'` : '';

const element = (name: string, xmlns: string, text: string | null | undefined): string => {
  const start = `<${requireName(name)}${attribute('xmlns', xmlns)}`;
  return text ? `${start}>${escapeText(requireLegal(text))}</${name}>` : `${start}/>`;
};

/**
 * The `<error/>` alone.
 *
 * @param error without a type it is of the one that goes with the condition
 * @throws RejectError `bad-request` when a part of it cannot be written
 */
export const formatStanzaError = (
  error: Pick<StanzaError, 'condition'> & Partial<StanzaError>,
): string => {
  const { condition, type = typeOf(condition), by, text, redirect, application } = error;
  return (
    `<error${attribute('type', type)}${attribute('by', by)}>` +
    element(condition, stanzasNs, redirect) +
    (text ? element('text', stanzasNs, text) : '') +
    (application ? element(application.name, application.xmlns, null) : '') +
    '</error>'
  );
};
