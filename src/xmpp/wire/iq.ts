/** Requests and their answers (RFC 6120 §8.2.3), whatever they carry. */
import type { Element } from '@xmpp/client';
import { RejectError } from '../../errors.ts';
import { type ErrorDraft, formatStanzaError } from './error.ts';
import { formatTag } from './tag.ts';

export type IqType = 'get' | 'set' | 'result' | 'error';

export type Iq = {
  type: IqType;
  id: string;
  from: string | null;
  to: string | null;
  /** Of a result it may be missing; of an error it is what was asked, where the error repeats it. */
  payload: Element | null;
};

/** What an answer takes from the request. */
export type IqRequest = Pick<Iq, 'id' | 'from'>;

const isType = (text: string | undefined): text is IqType =>
  text === 'get' || text === 'set' || text === 'result' || text === 'error';

/**
 * @returns null for what is no iq, or has no id or no known type, so that no answer could reach it
 * @throws RejectError `bad-request` when a request does not have its one payload; it is to be told so
 */
export const readIq = (stanza: Element): Iq | null => {
  const { type, id, from = null, to = null } = stanza.attrs;
  if (stanza.name !== 'iq' || !isType(type) || !id) return null;
  const elements = stanza.getChildElements();
  if ((type === 'get' || type === 'set') && elements.length !== 1) {
    throw new RejectError('a request has exactly one payload (RFC 6120 §8.2.3)', 'bad-request');
  }
  const payload = elements.find((element) => type !== 'error' || element.getName() !== 'error');
  return { type, id, from, to, payload: payload ?? null };
};

/** @param iq its payload is XML, taken as it is; without `to` it goes to the account itself */
export const formatIq = (iq: {
  type: 'get' | 'set' | 'result';
  id: string;
  to: string | null;
  payload: string;
}): string => formatTag('iq', { type: iq.type, id: iq.id, to: iq.to }, iq.payload);

/** @param payload XML, taken as it is */
export const formatIqResult = ({ id, from: to }: IqRequest, payload = ''): string =>
  formatIq({ type: 'result', id, to, payload });

/**
 * The answer to a request that is not granted. An error or a result is never to be answered so.
 *
 * @throws RejectError `bad-request` when the text has a character that XML does not allow
 */
export const formatIqError = ({ id, from: to }: IqRequest, error: ErrorDraft): string =>
  formatTag('iq', { type: 'error', id, to }, formatStanzaError(error));
