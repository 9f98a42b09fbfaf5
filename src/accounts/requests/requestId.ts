/** The id of a request: made as that of a message, and never taken for one. */
import { formatStanzaId, parseStanzaId, type RowKey } from '../stanzaId.ts';

const PREFIX = 'iq.';

/** Rows of the two queues may have the same number. */
const secretOf = (secret: string): string => `${secret} iq`;

export const formatRequestId = (secret: string, key: RowKey): string =>
  PREFIX + formatStanzaId(secretOf(secret), key);

/** @returns null for an id that is none of ours */
export const parseRequestId = (secret: string, text: string): RowKey | null =>
  text.startsWith(PREFIX) ? parseStanzaId(secretOf(secret), text.slice(PREFIX.length)) : null;
