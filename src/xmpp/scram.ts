/** The ways to log in (SASL mechanisms), in the shape that the negotiation engine calls. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Mechanism } from '@xmpp/client';
import { ConfigError, ProtocolError } from '../errors.ts';
import {
  type Credentials,
  createKeyCache,
  Hash,
  type KeyCache,
  type Keys,
  type ScramName,
  signWith,
} from './scramKeys.ts';
import {
  formatClientFinal,
  formatClientFinalBare,
  formatClientFirst,
  formatClientFirstBare,
  parseServerFinal,
  parseServerFirst,
  type ServerFirst,
} from './wire/scram.ts';

export type Verifiable = Mechanism & {
  /**
   * Checks that the server knows the password too. The engine does not: the session calls this.
   *
   * @param successText the text of `<success/>` as it stands there, which is base64
   * @throws ProtocolError when it does not prove it
   */
  verify(successText: string): void;
};

export type Mechanisms = {
  /** For the engine's factory, in order of preference. */
  mechs: { name: string; mech: new () => Mechanism }[];
  /** The mechanism in use: the one that the engine made last. */
  current(): Verifiable | null;
};

export type MechanismParts = { keys: KeyCache; makeNonce: () => string };

/** What has been said so far. */
type Stage =
  | { name: 'start' }
  | { name: 'first'; nonce: string; bare: string }
  | { name: 'challenged'; first: ServerFirst; signed: string }
  | { name: 'final'; signature: Buffer }
  | { name: 'verified' };

const nonceBytes = 24;
const sharedKeys = createKeyCache();
const makeNonce = (): string => randomBytes(nonceBytes).toString('base64');

// The engine puts messages through btoa and atob, which know bytes only, one to a character.
const encodeUtf8 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
const decodeUtf8 = (text: string): string => Buffer.from(text, 'latin1').toString('utf8');

const outOfTurn = (what: string): ProtocolError =>
  new ProtocolError(`in the SCRAM log-in, ${what} came out of turn`, 'RFC 5802 §5');

const xor = (a: Buffer, b: Buffer): Buffer => Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0)));

const buildProof = (name: ScramName, { clientKey }: Keys, message: string): Buffer => {
  const storedKey = createHash(Hash[name].name).update(clientKey).digest();
  return xor(clientKey, signWith(name, storedKey, message));
};

const requireSignature = (message: string, expected: Buffer): void => {
  const actual = parseServerFinal(message);
  if (actual.length === expected.length && timingSafeEqual(actual, expected)) return;
  throw new ProtocolError(
    'the server does not know the password: its signature is wrong',
    'RFC 5802 §5',
  );
};

const createScram = (name: ScramName, parts: MechanismParts): Verifiable => {
  let stage: Stage = { name: 'start' };

  const start = (username: string): string => {
    const nonce = parts.makeNonce();
    const bare = formatClientFirstBare(username, nonce);
    stage = { name: 'first', nonce, bare };
    return formatClientFirst(bare);
  };
  const answer = async (
    { first, signed }: Extract<Stage, { name: 'challenged' }>,
    credentials: Credentials,
  ): Promise<string> => {
    const keys = await parts.keys.selectKeys(name, credentials, first);
    const bare = formatClientFinalBare(first.nonce);
    const message = `${signed},${bare}`;
    stage = { name: 'final', signature: signWith(name, keys.serverKey, message) };
    return formatClientFinal(bare, buildProof(name, keys, message));
  };
  const accept = (message: string): void => {
    if (stage.name !== 'final') throw outOfTurn("the server's signature");
    requireSignature(message, stage.signature);
    stage = { name: 'verified' };
  };
  return {
    name,
    clientFirst: true,
    async response(credentials) {
      if (stage.name === 'start') return encodeUtf8(start(credentials.username));
      if (stage.name === 'challenged') return answer(stage, credentials);
      return '';
    },
    challenge(text) {
      const message = decodeUtf8(text);
      if (stage.name !== 'first') return accept(message);
      const first = parseServerFirst(message, stage.nonce);
      stage = { name: 'challenged', first, signed: `${stage.bare},${message}` };
    },
    verify(successText) {
      // The signature may have come as a challenge of its own (RFC 6120 §6.3.10).
      const isEmpty = successText.trim() === '' || successText.trim() === '=';
      if (isEmpty && stage.name === 'verified') return;
      accept(Buffer.from(successText, 'base64').toString('utf8'));
    },
  };
};

const createPlain = (): Verifiable => ({
  name: 'PLAIN',
  clientFirst: true,
  response({ username, password }) {
    if (`${username}${password}`.includes('\0')) {
      throw new ConfigError('a name or password with a NUL in it cannot log in by PLAIN');
    }
    return encodeUtf8(`\0${username}\0${password}`);
  },
  challenge() {
    throw new ProtocolError('PLAIN has no challenge', 'RFC 4616 §2');
  },
  verify() {},
});

/**
 * Makes the mechanisms for one connection: SCRAM with the strongest hash first, PLAIN last.
 *
 * @param allow `plain` lets the password itself be sent: only to whom the session trusts with it
 */
export const createMechanisms = (
  allow: { plain: boolean },
  given: Partial<MechanismParts> = {},
): Mechanisms => {
  const parts: MechanismParts = { keys: sharedKeys, makeNonce, ...given };
  let inUse: Verifiable | null = null;

  const buildEntry = (name: string, create: () => Verifiable) => {
    // No arrow function: the engine calls it with `new`, which gives the object it returns.
    function mech(): Verifiable {
      inUse = create();
      return inUse;
    }
    // TypeScript knows no constructor but a class.
    return { name, mech: mech as unknown as new () => Mechanism };
  };
  const buildScram = (name: ScramName) => buildEntry(name, () => createScram(name, parts));
  const plain = allow.plain ? [buildEntry('PLAIN', createPlain)] : [];
  return {
    mechs: [
      buildScram('SCRAM-SHA-512'),
      buildScram('SCRAM-SHA-256'),
      buildScram('SCRAM-SHA-1'),
      ...plain,
    ],
    current: () => inUse,
  };
};
