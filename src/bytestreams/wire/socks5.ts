/** SOCKS5 (RFC 1928) as far as a bytestreams proxy speaks it (XEP-0065 §6.3.3): bytes ⇄ plain objects. */
import { ProtocolError } from '../../errors.ts';

export const Method = { none: 0x00, unacceptable: 0xff } as const;

export const Reply = {
  succeeded: 0,
  failed: 1,
  notAllowed: 2,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
} as const;
export type Reply = (typeof Reply)[keyof typeof Reply];

const VERSION = 5;
const CONNECT = 1;
const AddressType = { ipv4: 1, domain: 3, ipv6: 4 } as const;

export type Greeting = { methods: number[]; sizeBytes: number };

export type Request = {
  command: number;
  addressType: number;
  /** As on the wire, without the length of a name; empty for a type that is not known. */
  address: Buffer;
  port: number;
  sizeBytes: number;
};

const requireVersion = (bytes: Buffer): void => {
  if (bytes[0] !== undefined && bytes[0] !== VERSION) {
    throw new ProtocolError(`SOCKS version ${bytes[0]}`, 'RFC 1928 §3');
  }
};

/**
 * Takes the methods that a client offers off its stream (RFC 1928 §3).
 *
 * @returns null until the whole greeting has arrived
 * @throws ProtocolError when the first byte is not 5: it is not SOCKS5, and no answer would be understood
 */
export const decodeGreeting = (bytes: Buffer): Greeting | null => {
  requireVersion(bytes);
  const count = bytes[1];
  if (count === undefined || bytes.length < 2 + count) return null;
  return { methods: [...bytes.subarray(2, 2 + count)], sizeBytes: 2 + count };
};

export const encodeMethod = (method: number): Buffer => Buffer.of(VERSION, method);

/** Where the address stands; null while that cannot be told. */
const findAddress = (bytes: Buffer): { start: number; length: number } | null => {
  switch (bytes[3]) {
    case AddressType.ipv4:
      return { start: 4, length: 4 };
    case AddressType.ipv6:
      return { start: 4, length: 16 };
    default:
      return bytes[4] === undefined ? null : { start: 5, length: bytes[4] };
  }
};

/**
 * Takes a request off the stream (RFC 1928 §4). It has at most 262 bytes.
 *
 * @returns null until it has arrived. What follows a type that is not known has no known length: the
 *   request is returned without it, for a refusal and the end of the connection.
 * @throws ProtocolError when the first byte is not 5
 */
export const decodeRequest = (bytes: Buffer): Request | null => {
  requireVersion(bytes);
  const [, command, , addressType] = bytes;
  if (command === undefined || addressType === undefined) return null;
  const isKnown = Object.values<number>(AddressType).includes(addressType);
  if (!isKnown) {
    return { command, addressType, address: Buffer.alloc(0), port: 0, sizeBytes: bytes.length };
  }
  const place = findAddress(bytes);
  const end = place && place.start + place.length;
  if (!place || !end || bytes.length < end + 2) return null;
  return {
    command,
    addressType,
    address: Buffer.from(bytes.subarray(place.start, end)),
    port: bytes.readUInt16BE(end),
    sizeBytes: end + 2,
  };
};

/** Repeats the address of the request, as a bytestreams proxy has to (XEP-0065 §6.3.3). */
export const encodeReply = (reply: Reply, { addressType, address, port }: Request): Buffer => {
  const isName = addressType === AddressType.domain;
  const end = Buffer.of(port >> 8, port & 0xff);
  // An address that was not understood is answered with the unspecified one.
  if (address.length === 0 && !isName) {
    return Buffer.concat([Buffer.of(VERSION, reply, 0, AddressType.ipv4), Buffer.alloc(4), end]);
  }
  const start = Buffer.of(VERSION, reply, 0, addressType, ...(isName ? [address.length] : []));
  return Buffer.concat([start, address, end]);
};

export type Judgement = { reply: Reply; hash: string | null };

/** What a request is answered with; only one that names a stream is granted. */
export const judgeRequest = ({ command, addressType, address, port }: Request): Judgement => {
  const refuse = (reply: Reply): Judgement => ({ reply, hash: null });
  if (command !== CONNECT) return refuse(Reply.commandNotSupported);
  if (addressType !== AddressType.domain) return refuse(Reply.addressTypeNotSupported);
  const text = address.toString('latin1');
  // A name that is no hash would ask us to connect out, which this proxy never does.
  if (port !== 0 || !/^[0-9a-f]{40}$/i.test(text)) return refuse(Reply.notAllowed);
  return { reply: Reply.succeeded, hash: text.toLowerCase() };
};
