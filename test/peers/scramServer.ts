/** The server's half of SCRAM-SHA-1 (RFC 5802), without channel binding. */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

export type ScramServer = {
  /** @returns the challenge to the client's first message */
  challenge(clientFirst: string): string;
  /** @returns the server's signature; null when the client does not know the password */
  verify(clientFinal: string): string | null;
};

const ITERATIONS = 4096;

export const createScramServer = (password: string): ScramServer => {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, ITERATIONS, 20, 'sha1');
  let header = '';
  let exchange = '';
  let nonce = '';
  return {
    challenge(clientFirst) {
      const bare = clientFirst.split(',').slice(2).join(',');
      header = clientFirst.slice(0, clientFirst.length - bare.length);
      nonce = `${readField(bare, 'r')}${randomBytes(12).toString('base64')}`;
      const challenge = `r=${nonce},s=${salt.toString('base64')},i=${ITERATIONS}`;
      exchange = `${bare},${challenge}`;
      return challenge;
    },
    verify(clientFinal) {
      const withoutProof = clientFinal.replace(/,p=[^,]*$/, '');
      const signed = `${exchange},${withoutProof}`;
      const binding = Buffer.from(header).toString('base64');
      if (readField(clientFinal, 'r') !== nonce || readField(clientFinal, 'c') !== binding)
        return null;
      if (!proves(salted, signed, readField(clientFinal, 'p'))) return null;
      return `v=${sign(sign(salted, 'Server Key'), signed).toString('base64')}`;
    },
  };
};

/** The proof hides the client's key; whoever holds its hash can tell it (RFC 5802 §3). */
const proves = (salted: Buffer, signed: string, proof: string): boolean => {
  const storedKey = hash(sign(salted, 'Client Key'));
  const signature = sign(storedKey, signed);
  const clientKey = Buffer.from(proof, 'base64').map((byte, i) => byte ^ (signature[i] ?? 0));
  return timingSafeEqual(hash(clientKey), storedKey);
};

const readField = (message: string, name: string): string =>
  message
    .split(',')
    .find((field) => field.startsWith(`${name}=`))
    ?.slice(2) ?? '';

const sign = (key: Buffer, text: string): Buffer => createHmac('sha1', key).update(text).digest();

const hash = (bytes: Uint8Array): Buffer => createHash('sha1').update(bytes).digest();
