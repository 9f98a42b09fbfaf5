/** Sends a file by HTTP PUT to where an upload service wants it (XEP-0363 §5). */
import { request as requestHttp } from 'node:http';
import { type RequestOptions, request as requestHttps } from 'node:https';
import { Readable } from 'node:stream';
import { errorText } from '../errors.ts';

export type PutOptions = {
  url: string;
  headers: readonly { name: string; value: string }[];
  mediaType: string;
  sizeBytes: number;
  /** PEM. These authorities are trusted instead of the ones Node comes with. */
  ca: string | null;
  /** False only where nobody can listen in, and the certificate is of the server's own making. */
  isVerified: boolean;
  signal: AbortSignal;
};

/** What became of it: the status of the answer, or why there was none. */
export type PutOutcome = { status: number } | { status: null; reason: string };

/** For the service to take the next piece, or to answer. */
const SILENCE_MS = 30_000;

/** A header that comes twice is sent twice (§5). */
const collectHeaders = ({ headers, mediaType, sizeBytes }: PutOptions) => {
  const all: Record<string, string | string[]> = {};
  for (const { name, value } of headers) {
    const known = all[name];
    all[name] = known === undefined ? value : [known, value].flat();
  }
  return { ...all, 'Content-Type': mediaType, 'Content-Length': String(sizeBytes) };
};

/**
 * Sends exactly `sizeBytes`; redirects are not followed, and no header goes out but those given.
 * It never throws: whatever is wrong is the outcome.
 */
export const putFile = (pieces: AsyncIterable<Buffer>, options: PutOptions): Promise<PutOutcome> =>
  new Promise((done) => {
    const { url, ca, isVerified, signal } = options;
    const isSecure = url.startsWith('https:');
    const request = isSecure ? requestHttps : requestHttp;
    const terms: RequestOptions = {
      method: 'PUT',
      headers: collectHeaders(options),
      agent: false,
      signal,
      timeout: SILENCE_MS,
      ...(isSecure && { rejectUnauthorized: isVerified, ...(ca !== null && { ca }) }),
    };
    let body: Readable | null = null;
    let sent: ReturnType<typeof requestHttp> | null = null;
    const end = (outcome: PutOutcome) => {
      body?.destroy();
      sent?.destroy();
      done(outcome);
    };
    const fail = (error: unknown) => end({ status: null, reason: errorText(error) });
    try {
      sent = request(url, terms);
      sent.on('response', (response) => end({ status: response.statusCode ?? 0 }));
      sent.on('timeout', () => fail(new Error(`no answer within ${SILENCE_MS / 1_000} s`)));
      sent.on('error', fail);
      body = Readable.from(pieces, { objectMode: false });
      body.on('error', fail);
      body.pipe(sent);
    } catch (error) {
      fail(error);
    }
  });
