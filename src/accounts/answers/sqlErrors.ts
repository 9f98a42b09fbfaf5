/** What went wrong in a function of a user, and what the one who asked is told of it. */
import type { ErrorDraft } from '../../xmpp/wire/error.ts';

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
export const judgeSqlError = (error: SqlError | null): ErrorDraft => {
  switch (error?.state) {
    case 'P0001':
      return { condition: 'bad-request', text: error.message };
    case '42501':
      return { condition: 'forbidden' };
    case 'P0002':
    case '02000':
      return { condition: 'item-not-found' };
    default:
      return { condition: 'internal-server-error' };
  }
};
