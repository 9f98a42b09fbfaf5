/** Rows of the queue of requests as stanzas, and their answers as what becomes of the row. */
import type { Element } from '@xmpp/client';
import { RejectError } from '../../errors.ts';
import { readStanzaError } from '../../xmpp/wire/error.ts';
import { parseFragment } from '../../xmpp/wire/fragment.ts';
import { formatIq } from '../../xmpp/wire/iq.ts';
import { formatElement } from '../../xmpp/wire/xml.ts';
import { requireJid } from '../text.ts';

const NS_CLIENT = 'jabber:client';

/** What a row asks to be sent. */
export type Asking = { iqTo: string | null; iqType: 'get' | 'set'; payload: string };

const readPayload = (text: string, maxBytes: number): string => {
  const payload = parseFragment(text, { maxStanzaBytes: maxBytes });
  const xmlns = payload.getNS();
  if (!xmlns || xmlns === NS_CLIENT) {
    throw new RejectError('payload has no namespace of its own', 'bad-request');
  }
  return formatElement(payload);
};

/**
 * @param id the stanza's id, the same each time the row is sent
 * @param maxBytes how large the stanza may be
 * @throws RejectError with the column and what is wrong with it
 */
export const buildRequest = (row: Asking, id: string, maxBytes: number): string => {
  const to = row.iqTo === null ? null : requireJid(row.iqTo, 'iq_to');
  const payload = readPayload(row.payload, maxBytes);
  const stanza = formatIq({ type: row.iqType, id, to, payload });
  const sizeBytes = Buffer.byteLength(stanza);
  if (sizeBytes <= maxBytes) return stanza;
  throw new RejectError(
    `the request is ${sizeBytes} bytes, its account sends ${maxBytes} at most (max_stanza_bytes)`,
    'policy-violation',
  );
};

/** What an answer says, as it is written to the row. */
export type Answer = {
  state: 'delivered' | 'failed';
  info: string | null;
  response: string;
  errorType: string | null;
  errorCondition: string | null;
  errorText: string | null;
};

/** @param iq of the type result or error */
export const readAnswer = (iq: Element): Answer => {
  const response = formatElement(iq);
  const none = { errorType: null, errorCondition: null, errorText: null };
  if (iq.attrs.type === 'result') return { state: 'delivered', info: null, response, ...none };
  const { type: errorType, condition: errorCondition, text: errorText } = readStanzaError(iq);
  return {
    state: 'failed',
    info: errorText === null ? errorCondition : `${errorCondition}: ${errorText}`,
    response,
    errorType,
    errorCondition,
    errorText,
  };
};
