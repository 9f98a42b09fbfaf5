/** A small SIP client: it registers over UDP and answers a digest challenge (RFC 3261 §22). */
import { createHash, randomUUID } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

export type Registration = {
  host: string;
  port: number;
  user: string;
  domain: string;
  password: string;
  /** What the digest has as its user; the same if absent. */
  username?: string;
};

const TIMER_MS = 500; // T1 of RFC 3261 §17.1.1.1
const PATIENCE_MS = 10_000;

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

/** @returns the status of the answers, the challenge first */
export const registerSip = async (registration: Registration): Promise<number[]> => {
  const socket = createSocket('udp4');
  try {
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const dialog = { tag: randomUUID(), callId: randomUUID() };
    const challenge = await ask(socket, registration, formatRegister(registration, dialog, 1, ''));
    const first = statusOf(challenge);
    if (first !== 401) return [first];
    const credentials = formatCredentials(registration, challenge);
    const answer = await ask(
      socket,
      registration,
      formatRegister(registration, dialog, 2, credentials),
    );
    return [first, statusOf(answer)];
  } finally {
    socket.close();
  }
};

const statusOf = (answer: string): number => Number(answer.split(' ')[1]);

const formatRegister = (
  { host, port, user, domain }: Registration,
  { tag, callId }: { tag: string; callId: string },
  cseq: number,
  credentials: string,
): string =>
  [
    `REGISTER sip:${domain} SIP/2.0`,
    `Via: SIP/2.0/UDP ${host}:${port};rport;branch=z9hG4bK${randomUUID()}`,
    'Max-Forwards: 70',
    `From: <sip:${user}@${domain}>;tag=${tag}`,
    `To: <sip:${user}@${domain}>`,
    `Call-ID: ${callId}`,
    `CSeq: ${cseq} REGISTER`,
    `Contact: <sip:${user}@${host}:${port}>`,
    ...(credentials === '' ? [] : [`Authorization: ${credentials}`]),
    'Content-Length: 0',
    '\r\n',
  ].join('\r\n');

const formatCredentials = (registration: Registration, challenge: string): string => {
  const { user, username = user, domain, password } = registration;
  const read = (name: string) => new RegExp(`\\b${name}="([^"]*)"`).exec(challenge)?.[1] ?? '';
  const [realm, nonce, uri] = [read('realm'), read('nonce'), `sip:${domain}`];
  const secret = md5(`${username}:${realm}:${password}`);
  const response = md5(`${secret}:${nonce}:${md5(`REGISTER:${uri}`)}`);
  const fields = { username, realm, nonce, uri, response };
  return `Digest ${Object.entries(fields)
    .map(([name, value]) => `${name}="${value}"`)
    .join(', ')}`;
};

/** Sends it again until there is an answer, as UDP asks for. */
const ask = async (
  socket: Socket,
  { host, port }: Registration,
  request: string,
): Promise<string> => {
  const send = () => socket.send(request, port, host);
  const timer = setInterval(send, TIMER_MS);
  try {
    send();
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const cseq = /^CSeq: .*$/m.exec(request)?.[0] ?? '';
    for (;;) {
      const [bytes] = await once(socket, 'message', { signal });
      // An answer that comes twice is of the request before.
      if (String(bytes).includes(cseq)) return String(bytes);
    }
  } finally {
    clearInterval(timer);
  }
};
