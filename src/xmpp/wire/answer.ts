/** Answers of a component: from the address that was asked, which it has to name, to who asked. */
import type { Element } from '@xmpp/client';
import { type ErrorDraft, formatStanzaError } from './error.ts';
import { formatTag } from './tag.ts';

const formatAnswer = (stanza: Element, type: 'result' | 'error', content: string): string => {
  const { id, from, to } = stanza.attrs;
  return formatTag(stanza.name, { type, id, from: to, to: from }, content);
};

/** @param payload XML, taken as it is */
export const formatResult = (request: Element, payload = ''): string =>
  formatAnswer(request, 'result', payload);

/**
 * That a request, a message or a presence is refused. An error or a result is never to be answered so.
 *
 * @throws RejectError `bad-request` when the text has a character that XML does not allow
 */
export const formatRefusal = (stanza: Element, error: ErrorDraft): string =>
  formatAnswer(stanza, 'error', formatStanzaError(error));
