/** What is answered to stanzas that no gateway takes: every request gets exactly one answer. */
import type { Element } from '@xmpp/client';
import { RejectError } from '../errors.ts';
import { formatRefusal, formatResult } from '../xmpp/wire/answer.ts';
import {
  discoInfoNs,
  discoItemsNs,
  formatDiscoInfo,
  formatDiscoItems,
} from '../xmpp/wire/disco.ts';
import { answerEntityQuery, pingNs, timeNs, versionNs } from '../xmpp/wire/entity.ts';
import { type Iq, readIq } from '../xmpp/wire/iq.ts';
import { readJidParts } from '../xmpp/wire/jid.ts';
import type { Service } from './component.ts';

/** What is told in the answers. */
export type Answerer = { service: Service; version: string; now: Date };

const FEATURES = [discoInfoNs, discoItemsNs, versionNs, pingNs, timeNs];

const notFound = (): RejectError => new RejectError('there is no such node', 'item-not-found');
const unavailable = (): RejectError =>
  new RejectError('nobody takes it here', 'service-unavailable');

const describeDomain = (query: Element, { service }: Answerer): string => {
  if (query.attrs.node) throw notFound();
  const { identities, features } = service.describe();
  const all = [...new Set([...FEATURES, ...features])].sort();
  return formatDiscoInfo({ node: null, identities, features: all, forms: [] });
};

const listItems = (query: Element, { service }: Answerer): string => {
  if (query.attrs.node) throw notFound();
  return formatDiscoItems({ node: null, items: service.items?.() ?? [] });
};

/** @throws RejectError for what is not known at the domain itself */
const answerDomain = (payload: Element, answerer: Answerer): string => {
  if (payload.is('query', discoInfoNs)) return describeDomain(payload, answerer);
  if (payload.is('query', discoItemsNs)) return listItems(payload, answerer);
  const answer = answerEntityQuery(payload, answerer.version, answerer.now);
  if (answer === null) throw unavailable();
  return answer;
};

const isDomain = (address: string | null): boolean => {
  const jid = readJidParts(address);
  return jid !== null && jid.local === null && jid.resource === null;
};

/** @returns the payload of the result @throws RejectError for what is refused */
const answerRequest = ({ type, to, payload }: Iq, answerer: Answerer): string => {
  if (type !== 'get' || payload === null || !isDomain(to)) throw unavailable();
  return answerDomain(payload, answerer);
};

const answerIq = (stanza: Element, answerer: Answerer): string | null => {
  try {
    const iq = readIq(stanza);
    if (iq === null || iq.type === 'result' || iq.type === 'error') return null;
    return formatResult(stanza, answerRequest(iq, answerer));
  } catch (error) {
    if (!(error instanceof RejectError)) throw error;
    return formatRefusal(stanza, { condition: error.condition, text: error.message });
  }
};

/** Those to whom an error says something: a headline is for whom it finds (RFC 6121 §8.5.1, §5.2.2). */
const isForAnswer = ({ attrs: { type } }: Element): boolean =>
  type !== 'error' && type !== 'headline';

/**
 * @param stanza to an address of the component, with whatever its sender made of it
 * @returns null for what gets no answer: errors and results, presence (RFC 6121 §8.5.1), and what came
 *   from nowhere
 */
export const answerStanza = (stanza: Element, answerer: Answerer): string | null => {
  if (!stanza.attrs.from || !stanza.attrs.to) return null;
  switch (stanza.name) {
    case 'iq':
      return answerIq(stanza, answerer);
    case 'message':
      if (!isForAnswer(stanza)) return null;
      return formatRefusal(stanza, { condition: 'service-unavailable' });
    default:
      return null;
  }
};
