/** The keys that SCRAM makes of a password (RFC 5802 §3), kept to make the next log-in cheap. */
import { createHmac, pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { prepareText, type ServerFirst } from './wire/scram.ts';

export const Hash = {
  'SCRAM-SHA-512': { name: 'sha512', sizeBytes: 64 },
  'SCRAM-SHA-256': { name: 'sha256', sizeBytes: 32 },
  'SCRAM-SHA-1': { name: 'sha1', sizeBytes: 20 },
} as const;
export type ScramName = keyof typeof Hash;

export type Credentials = { username: string; password: string };
export type Keys = { clientKey: Buffer; serverKey: Buffer };
type Salting = Pick<ServerFirst, 'salt' | 'iterations'>;

/** Gives the keys of a password, from PBKDF2 or from memory. */
export type KeyCache = {
  selectKeys(name: ScramName, credentials: Credentials, salting: Salting): Promise<Keys>;
  readonly size: number;
};

const deriveBits = promisify(pbkdf2);

export const signWith = (name: ScramName, key: Buffer, text: string): Buffer =>
  createHmac(Hash[name].name, key).update(text).digest();

const deriveKeys = async (
  name: ScramName,
  password: string,
  { salt, iterations }: Salting,
): Promise<Keys> => {
  const hash = Hash[name];
  const text = prepareText(password);
  const salted = await deriveBits(text, salt, iterations, hash.sizeBytes, hash.name);
  return {
    clientKey: signWith(name, salted, 'Client Key'),
    serverKey: signWith(name, salted, 'Server Key'),
  };
};

/**
 * Keys are found by a hash over everything they come from. It is keyed with a secret of this
 * process, so that what is kept does not help to guess passwords. Beyond `maxEntries` those go that
 * were used longest ago.
 */
export const createKeyCache = (maxEntries = 10_000): KeyCache => {
  const secret = randomBytes(32);
  const entries = new Map<string, Keys>();

  const hashSource = (name: ScramName, { username, password }: Credentials, salting: Salting) => {
    const source = [name, username, password, salting.salt.toString('base64'), salting.iterations];
    return createHmac('sha256', secret).update(JSON.stringify(source)).digest('base64');
  };
  const keep = (id: string, keys: Keys): void => {
    entries.delete(id);
    entries.set(id, keys);
    const [oldest] = entries.keys();
    if (entries.size > maxEntries && oldest !== undefined) entries.delete(oldest);
  };
  return {
    async selectKeys(name, credentials, salting) {
      const id = hashSource(name, credentials, salting);
      const keys = entries.get(id) ?? (await deriveKeys(name, credentials.password, salting));
      keep(id, keys);
      return keys;
    },
    get size() {
      return entries.size;
    },
  };
};
