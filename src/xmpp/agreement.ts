/** What comes between a login and a session: a stream is resumed, or an address bound (XEP-0198, RFC 6120 §7). */
import type { Element } from '@xmpp/client';
import { ProtocolError, RetryError } from '../errors.ts';
import { retryMs } from './attempt.ts';
import { NS_SM } from './streamManagement.ts';
import { describeStanzaError, readStanzaError } from './wire/error.ts';
import { escapeAttribute, escapeText } from './wire/xml.ts';

const NS_BIND = 'urn:ietf:params:xml:ns:xmpp-bind';

/** What is remembered of a stream that may be resumed; `h` counts the stanzas received and dealt with. */
export type Resumption = { id: string; h: number; location: string | null; fullJid: string };

/** @param resource empty to let the server choose one (RFC 6120 §7.6) */
const formatBind = (resource: string): string =>
  `<iq type='set' id='bind'><bind xmlns='${NS_BIND}'>` +
  `${resource === '' ? '' : `<resource>${escapeText(resource)}</resource>`}</bind></iq>`;

const readBound = (iq: Element): string => {
  const bound = iq.getChild('bind', NS_BIND)?.getChildText('jid');
  if (iq.attrs.type === 'result' && bound) return bound;
  const isError = iq.attrs.type === 'error';
  const reason = isError ? describeStanzaError(readStanzaError(iq)) : 'no address';
  throw new RetryError(`the server did not bind the resource: ${reason}`, retryMs);
};

/** @returns null for what is no count */
const readCount = (text: string | undefined): number | null =>
  /^\d{1,10}$/.test(text ?? '') ? Number(text) : null;

/** How a session was agreed on, once it was. */
export type Agreed = {
  /** The bound address, with resource. */
  fullJid: string;
  /** Whether the old stream goes on: nothing was missed, and nothing is to be introduced again. */
  isResumed: boolean;
  /**
   * Of the stream that was to be resumed: stanzas that the server has handled in all its life; null when
   * it does not say. A stream that cannot go on may still be counted.
   */
  handledBefore: number | null;
  /** What it takes to resume; null when the server cannot. */
  streamId: string | null;
  location: string | null;
  hasManagement: boolean;
};

type Wanted = {
  /** Empty to let the server choose one. */
  resource: string;
  /** The stream to resume, if there is one. */
  resumption: Resumption | null;
};

/** Resumes, or binds and enables stream management: an exchange of nonzas, each answered in turn. */
export const agree = (
  features: Element,
  { resource, resumption }: Wanted,
  write: (text: string) => void,
) => {
  const outcome = Promise.withResolvers<Agreed>();
  const canManage = features.getChild('sm', NS_SM) !== undefined;
  let fullJid = '';
  let handledBefore: number | null = null;
  let isDone = false;

  const finish = (agreed: Partial<Agreed>) => {
    isDone = true;
    outcome.resolve({
      fullJid,
      isResumed: false,
      handledBefore,
      streamId: null,
      location: null,
      hasManagement: false,
      ...agreed,
    });
  };
  const bind = () => write(formatBind(resource));

  /** @returns whether the element was part of the exchange */
  const onElement = (element: Element): boolean => {
    if (element.is('resumed', NS_SM) && resumption) {
      handledBefore = readCount(element.attrs.h);
      if (handledBefore === null) {
        throw new ProtocolError('the server resumed the stream without a count', 'XEP-0198 §5');
      }
      const { id: streamId, location } = resumption;
      fullJid = resumption.fullJid;
      finish({ isResumed: true, streamId, location, hasManagement: true });
    } else if (element.is('failed', NS_SM)) {
      if (fullJid !== '') finish({});
      else {
        handledBefore = readCount(element.attrs.h);
        bind();
      }
    } else if (element.is('iq') && element.attrs.id === 'bind') {
      fullJid = readBound(element);
      if (canManage) write(`<enable xmlns='${NS_SM}' resume='true'/>`);
      else finish({});
    } else if (element.is('enabled', NS_SM)) {
      const { id, resume, location } = element.attrs;
      const streamId = (resume === 'true' || resume === '1') && id ? id : null;
      finish({ streamId, location: location ?? null, hasManagement: true });
    } else return false;
    return true;
  };

  if (resumption && canManage) {
    const previd = escapeAttribute(resumption.id);
    write(`<resume xmlns='${NS_SM}' h='${resumption.h}' previd='${previd}'/>`);
  } else bind();
  return { agreed: outcome.promise, isDone: () => isDone, onElement, fail: outcome.reject };
};
