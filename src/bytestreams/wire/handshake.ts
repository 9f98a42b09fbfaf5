/** The SOCKS5 handshake of one connection, whatever pieces it arrives in. */
import { ProtocolError } from '../../errors.ts';
import {
  decodeGreeting,
  decodeRequest,
  encodeMethod,
  encodeReply,
  judgeRequest,
  Method,
  type Reply,
  type Request,
} from './socks5.ts';

export type HandshakeStep =
  | { type: 'waiting'; send: Buffer | null }
  /** It is not SOCKS5, or wants what is not here: `send`, then close. */
  | { type: 'refused'; send: Buffer | null }
  /** `reply` says whether there is a place for it; `rest` came behind the request. */
  | { type: 'asked'; send: Buffer | null; hash: string; rest: Buffer; reply(code: Reply): Buffer };

export type Handshake = { push(bytes: Buffer): HandshakeStep };

const join = (first: Buffer | null, second: Buffer): Buffer =>
  first ? Buffer.concat([first, second]) : second;

export const createHandshake = (): Handshake => {
  let held: Buffer = Buffer.alloc(0);
  let isGreeted = false;

  const takeRequest = (request: Request, greeting: Buffer | null): HandshakeStep => {
    const { reply, hash } = judgeRequest(request);
    if (hash === null)
      return { type: 'refused', send: join(greeting, encodeReply(reply, request)) };
    return {
      type: 'asked',
      send: greeting,
      hash,
      rest: held.subarray(request.sizeBytes),
      reply: (code) => encodeReply(code, request),
    };
  };

  const advance = (): HandshakeStep => {
    let send: Buffer | null = null;
    if (!isGreeted) {
      const greeting = decodeGreeting(held);
      if (!greeting) return { type: 'waiting', send };
      if (!greeting.methods.includes(Method.none)) {
        return { type: 'refused', send: encodeMethod(Method.unacceptable) };
      }
      isGreeted = true;
      held = held.subarray(greeting.sizeBytes);
      send = encodeMethod(Method.none);
    }
    const request = decodeRequest(held);
    return request ? takeRequest(request, send) : { type: 'waiting', send };
  };

  return {
    /** Not to be called again once it was refused or asked. The bytes are copied. */
    push(bytes) {
      held = Buffer.concat([held, bytes]);
      try {
        return advance();
      } catch (error) {
        if (error instanceof ProtocolError) return { type: 'refused', send: null };
        throw error;
      }
    },
  };
};
