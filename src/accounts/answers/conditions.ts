/** Why a request is not granted, in the words of the protocol (RFC 6120 §8.3). */
import type { IqError } from '../../xmpp/wire/iq.ts';

/** What a requester can do about each condition (RFC 6120 §8.3.3). */
const TYPES: Record<string, IqError['type']> = {
  'bad-request': 'modify',
  conflict: 'cancel',
  'feature-not-implemented': 'cancel',
  forbidden: 'auth',
  gone: 'cancel',
  'internal-server-error': 'cancel',
  'item-not-found': 'cancel',
  'jid-malformed': 'modify',
  'not-acceptable': 'modify',
  'not-allowed': 'cancel',
  'not-authorized': 'auth',
  'policy-violation': 'modify',
  'recipient-unavailable': 'wait',
  redirect: 'modify',
  'registration-required': 'auth',
  'remote-server-not-found': 'cancel',
  'remote-server-timeout': 'wait',
  'resource-constraint': 'wait',
  'service-unavailable': 'cancel',
  'subscription-required': 'auth',
  'undefined-condition': 'cancel',
  'unexpected-request': 'wait',
};

export const CONDITIONS = Object.keys(TYPES);

export const describeError = (condition: string, text: string | null = null): IqError => ({
  type: TYPES[condition] ?? 'cancel',
  condition,
  text,
});

export type SqlError = { state: string; message: string };

/** What Postgres said, beneath what the library has made of it. */
export const findSqlError = (error: unknown): SqlError | null => {
  let inner = error;
  for (let depth = 0; depth < 5 && inner instanceof Error; depth += 1) {
    const { code } = inner as Error & { code?: unknown };
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)) {
      return { state: code, message: inner.message };
    }
    inner = inner.cause;
  }
  return null;
};

/**
 * What the requester is told of a function that failed. Only what its author says on purpose leaves the
 * database: a raised message, which is P0001 unless it names another state.
 */
export const judgeSqlError = (error: SqlError | null): IqError => {
  switch (error?.state) {
    case 'P0001':
      return describeError('bad-request', error.message);
    case '42501':
      return describeError('forbidden');
    case 'P0002':
    case '02000':
      return describeError('item-not-found');
    default:
      return describeError('internal-server-error');
  }
};
