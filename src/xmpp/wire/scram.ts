/** The messages of SCRAM (RFC 5802 §7), without channel binding. */
import { ProtocolError } from '../../errors.ts';

export type ServerFirst = { nonce: string; salt: Buffer; iterations: number };

/** "n": the client does no channel binding, whatever the server offers (RFC 5802 §6). */
const gs2Header = 'n,,';
const maxIterations = 10_000_000;
const maxTextChars = 200;
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$/;
const nonceText = /^[\x21-\x2B\x2D-\x7E]+$/;

const malformed = (what: string): ProtocolError =>
  new ProtocolError(`in the SCRAM log-in, ${what}`, 'RFC 5802 §7');

const nonAsciiSpace = /[\xA0\u1680\u2000-\u200B\u202F\u205F\u3000]/g;
const mappedToNothing =
  /[\u180B-\u180D]|[\uFE00-\uFE0F]|\u034F|\u200D|[\xAD\u1806\u200C\u2060\uFEFF]/g;

/**
 * Maps a name or password as SASLprep does (RFC 4013 §2.1, §2.2), as RFC 5802 asks. So it is NFKC,
 * where OpaqueString (RFC 8265) has NFC: servers of XMPP prepare the passwords they store by
 * SASLprep. What SASLprep prohibits is left to the server to refuse.
 */
export const prepareText = (text: string): string =>
  text.replace(nonAsciiSpace, ' ').replace(mappedToNothing, '').normalize('NFKC');

/** The client's first message without its GS2 header, as it is signed. */
export const formatClientFirstBare = (username: string, nonce: string): string => {
  const name = prepareText(username).replaceAll('=', '=3D').replaceAll(',', '=2C');
  return `n=${name},r=${nonce}`;
};

export const formatClientFirst = (bare: string): string => gs2Header + bare;

/** The client's last message as it is signed, which is before its proof. */
export const formatClientFinalBare = (nonce: string): string =>
  `c=${Buffer.from(gs2Header).toString('base64')},r=${nonce}`;

export const formatClientFinal = (bare: string, proof: Buffer): string =>
  `${bare},p=${proof.toString('base64')}`;

const readAttribute = (part: string | undefined, name: string): string => {
  if (part?.startsWith(`${name}=`)) return part.slice(2);
  throw malformed(`the server sent no "${name}" where it belongs`);
};

const readBase64 = (text: string, what: string): Buffer => {
  if (base64.test(text)) return Buffer.from(text, 'base64');
  throw malformed(`${what} is not base64`);
};

const readIterations = (text: string): number => {
  const count = /^[1-9]\d{0,8}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= maxIterations) return count;
  throw malformed(`the iteration count is not one from 1 to ${maxIterations}`);
};

const readNonce = (text: string, clientNonce: string): string => {
  const isExtended = text.startsWith(clientNonce) && text.length > clientNonce.length;
  if (isExtended && nonceText.test(text)) return text;
  throw malformed('the nonce does not extend the one that was sent');
};

/**
 * Parses the server's first message. Extensions after the iteration count are skipped.
 *
 * @throws ProtocolError also for a nonce that does not extend ours, and for more than 10,000,000
 *   iterations
 */
export const parseServerFirst = (text: string, clientNonce: string): ServerFirst => {
  const [nonce, salt, iterations] = text.split(',');
  // "m" announces something that has to be understood (RFC 5802 §5.1).
  if (nonce?.startsWith('m=')) throw malformed('the server asks for an unknown extension');
  return {
    nonce: readNonce(readAttribute(nonce, 'r'), clientNonce),
    salt: readBase64(readAttribute(salt, 's'), 'the salt'),
    iterations: readIterations(readAttribute(iterations, 'i')),
  };
};

/**
 * Parses the server's last message.
 *
 * @returns the server's signature
 * @throws ProtocolError also when it carries the server's error instead
 */
export const parseServerFinal = (text: string): Buffer => {
  const [first] = text.split(',');
  if (first?.startsWith('e=')) {
    throw malformed(`the server found an error: ${first.slice(2, maxTextChars)}`);
  }
  return readBase64(readAttribute(first, 'v'), "the server's signature");
};
