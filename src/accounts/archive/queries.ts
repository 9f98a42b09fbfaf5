/** Questions to the own archive (XEP-0313), and which of them a result answers. */
import { randomBytes } from 'node:crypto';
import { RetryError } from '../../errors.ts';
import {
  type ArchiveEnd,
  type ArchiveQuery,
  type ArchiveResult,
  archiveNs,
  formatArchiveQuery,
  readArchiveEnd,
} from '../../xmpp/wire/archive.ts';
import type { Line, Taken } from '../part.ts';

/** When an archive that made no sense is asked again. */
export const RETRY_MS = 30_000;

export type Queries = {
  /**
   * @param onResult called for each message, before the end is known
   * @throws RetryError, RejectError as the request does
   */
  ask(
    query: Omit<ArchiveQuery, 'queryId'>,
    onResult: (result: ArchiveResult) => Taken,
  ): Promise<ArchiveEnd>;
  /** Where the archive ends. */
  askLast(): Promise<string | null>;
  isAsked(queryId: string): boolean;
  receive(result: ArchiveResult): Taken;
  /** The stream is gone, and with it all that was asked. */
  clear(): void;
};

export const createQueries = (line: Pick<Line, 'request'>): Queries => {
  const queries = new Map<string, (result: ArchiveResult) => Taken>();

  const ask: Queries['ask'] = async (query, onResult) => {
    const queryId = randomBytes(9).toString('base64url');
    queries.set(queryId, onResult);
    try {
      const payload = formatArchiveQuery({ ...query, queryId });
      const answer = await line.request({ to: null, type: 'set', payload });
      const end = readArchiveEnd(answer.getChild('fin', archiveNs));
      if (!end) throw new RetryError('the archive did not say how the query ended', RETRY_MS);
      queries.delete(queryId);
      return end;
    } catch (error) {
      // Results may be on their way still.
      queries.set(queryId, () => ({}));
      throw error;
    }
  };

  return {
    ask,
    async askLast() {
      const { page } = await ask({ page: { max: 1, before: '' } }, () => ({}));
      return page?.last ?? null;
    },
    isAsked: (queryId) => queries.has(queryId),
    receive: (result) => queries.get(result.queryId ?? '')?.(result) ?? {},
    clear: () => queries.clear(),
  };
};
