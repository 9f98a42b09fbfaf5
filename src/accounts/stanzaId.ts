/**
 * The id of a row's stanza: the same each time the row is sent, so that a receiver can tell; not to be
 * guessed, so that nobody can report on a message that he never saw; and leading back to the row.
 */
import { hash } from 'node:crypto';

/** Where a row stands: its id, and when it was inserted, in seconds, which names its partition. */
export type RowKey = { id: number; insertedAtS: number };

const PROOF_CHARS = 12;

/** Cut short, a keyed hash cannot be extended, which is what HMAC guards against at four times the cost. */
const proofOf = (secret: string, text: string): string =>
  hash('sha256', `${secret} ${text}`, 'base64url').slice(0, PROOF_CHARS);

export const formatStanzaId = (secret: string, { id, insertedAtS }: RowKey): string => {
  const text = `${id.toString(36)}.${insertedAtS.toString(36)}`;
  return `${text}.${proofOf(secret, text)}`;
};

/** @returns null for an id that is none of ours */
export const parseStanzaId = (secret: string, text: string): RowKey | null => {
  const parts = /^(([0-9a-z]{1,12})\.([0-9a-z]{1,8}))\.([\w-]{12})$/.exec(text);
  const [, key = '', id = '', insertedAt = '', proof] = parts ?? [];
  if (!parts || proofOf(secret, key) !== proof) return null;
  return { id: Number.parseInt(id, 36), insertedAtS: Number.parseInt(insertedAt, 36) };
};
