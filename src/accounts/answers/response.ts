/** What people and functions of theirs answer, as it goes on the wire. */
import { errorText, RejectError } from '../../errors.ts';
import { parseFragment } from '../../xmpp/wire/fragment.ts';
import { formatIqError, formatIqResult } from '../../xmpp/wire/iq.ts';
import { formatElement } from '../../xmpp/wire/xml.ts';
import type { Pending } from './store.ts';

const NS_CLIENT = 'jabber:client';

/**
 * The payload of a result as a user wrote it, which may be empty.
 *
 * @throws RejectError with what is wrong with it
 */
export const readResponse = (text: string | null, maxBytes: number): string => {
  if (text === null || text.trim() === '') return '';
  const payload = parseFragment(text, { maxStanzaBytes: maxBytes });
  const xmlns = payload.getNS();
  if (!xmlns || xmlns === NS_CLIENT) {
    throw new RejectError('the answer has no namespace of its own', 'bad-request');
  }
  return formatElement(payload);
};

/** An answer to a request that is a row, and what becomes of the row. */
export type Outcome = {
  stanza: string;
  state: 'answered' | 'expired' | 'failed';
  info: string | null;
};

/** @returns null while there is none, and still time */
export const decideOutcome = (row: Pending, maxBytes: number): Outcome | null => {
  const request = { id: row.iqId, from: row.iqFrom };
  const refuse = (condition: string, text: string | null = null) =>
    formatIqError(request, { condition, text });
  try {
    if (row.errorCondition !== null) {
      const stanza = refuse(row.errorCondition, row.errorText);
      return { stanza, state: 'answered', info: null };
    }
    if (row.response !== null) {
      const stanza = formatIqResult(request, readResponse(row.response, maxBytes));
      return { stanza, state: 'answered', info: null };
    }
  } catch (error) {
    if (!(error instanceof RejectError)) throw error;
    const stanza = refuse('internal-server-error');
    return { stanza, state: 'failed', info: `${error.condition}: ${errorText(error)}` };
  }
  if (row.answerInMs > 0) return null;
  return { stanza: refuse('service-unavailable'), state: 'expired', info: null };
};
