/** Questions to others and their answers: an answer counts only when it comes from whom was asked. */
import { randomBytes } from 'node:crypto';
import type { Element } from '@xmpp/client';
import { RejectError, RetryError } from '../errors.ts';
import { isFromAsked } from './wire/asked.ts';
import { describeStanzaError, readStanzaError } from './wire/error.ts';
import { formatTag } from './wire/tag.ts';

export type Question = {
  /** Null for the server, on behalf of the account (RFC 6120 §10.3.3). */
  to: string | null;
  /** Of a component, which has to say it (XEP-0114 §3): the address that asks. */
  from?: string;
  type: 'get' | 'set';
  /** The one child of the stanza, as XML. */
  payload: string;
  timeoutMs?: number;
};

export type Requester = {
  /** @throws RejectError the answer is an error; RetryError no answer in time, or the stream is lost */
  ask(question: Question): Promise<Element>;
  /** @returns null for what answers no question; 'spoofed' when another than the one asked answers */
  take(iq: Element): 'taken' | 'spoofed' | null;
  /** No answer will come any more. */
  fail(error: Error): void;
};

type Waiting = {
  to: string | null;
  resolve(answer: Element): void;
  reject(error: Error): void;
};

const TIMEOUT_MS = 30_000;
const RETRY_MS = 5_000;

/** The answer's error as a verdict: those of type `wait` may pass. Source: RFC 6120 §8.3. */
const readVerdict = (answer: Element): Error => {
  const error = readStanzaError(answer);
  const message = describeStanzaError(error);
  return error.type === 'wait'
    ? new RetryError(message, RETRY_MS)
    : new RejectError(message, error.condition);
};

type Parts = {
  /** @returns false when nothing can be sent now */
  send(stanza: string): boolean;
  /** The account's own bare JID; its server answers in its name, or in none. */
  ownJid(): string;
  /** What is said of a question that cannot be sent. */
  notOnline?: string;
};

export const createRequester = ({
  send,
  ownJid,
  notOnline = 'the account is not online',
}: Parts): Requester => {
  const waiting = new Map<string, Waiting>();

  return {
    async ask({ to, from, type, payload, timeoutMs = TIMEOUT_MS }) {
      const id = randomBytes(12).toString('base64url');
      const answer = Promise.withResolvers<Element>();
      if (!send(formatTag('iq', { type, id, from, to }, payload))) {
        throw new RetryError(notOnline, RETRY_MS);
      }
      const silent = new RetryError(`no answer within ${timeoutMs / 1_000} s`, RETRY_MS);
      const timer = setTimeout(() => waiting.get(id)?.reject(silent), timeoutMs);
      const end = () => {
        clearTimeout(timer);
        waiting.delete(id);
      };
      waiting.set(id, {
        to,
        resolve(element) {
          end();
          answer.resolve(element);
        },
        reject(error) {
          end();
          answer.reject(error);
        },
      });
      return answer.promise;
    },
    take(iq) {
      const { type, id = '', from } = iq.attrs;
      const asked = waiting.get(id);
      if (!asked || (type !== 'result' && type !== 'error')) return null;
      if (!isFromAsked(asked.to, from, ownJid())) return 'spoofed';
      if (type === 'result') asked.resolve(iq);
      else asked.reject(readVerdict(iq));
      return 'taken';
    },
    fail(error) {
      for (const { reject } of [...waiting.values()]) reject(error);
    },
  };
};
