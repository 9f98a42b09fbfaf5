/** The short stream in clear that asks a server for STARTTLS (RFC 6120 §5.4). */
import { StringDecoder } from 'node:string_decoder';
import { SaxesParser, type SaxesTagNS } from 'saxes';
import { ProtocolError } from '../../errors.ts';
import { escapeAttribute } from './xml.ts';

export type PreStreamEvent =
  | { type: 'features'; offersTls: boolean }
  | { type: 'proceed' }
  | { type: 'failure' }
  | { type: 'error'; condition: string; text: string }
  | { type: 'end' }
  /** Not XML: the alert of a server that wants TLS from the first byte. */
  | { type: 'tlsAlert' }
  | { type: 'other'; name: string };

/** As much of an element as is looked at: its name in `{namespace}local` form, and its children. */
type Node = { name: string; text: string; children: Node[] };

const streamNs = 'http://etherx.jabber.org/streams';
const tlsNs = 'urn:ietf:params:xml:ns:xmpp-tls';
const errorNs = 'urn:ietf:params:xml:ns:xmpp-streams';
const maxBytes = 64 * 1024;
const maxDepth = 16;
/** saxes may quote a name in full. */
const maxErrorChars = 200;
const tlsAlertType = 0x15;

export const startTlsRequest = `<starttls xmlns='${tlsNs}'/>`;

export const formatStreamHeader = (domain: string): string =>
  `<?xml version='1.0'?><stream:stream to='${escapeAttribute(domain)}' version='1.0' ` +
  `xmlns='jabber:client' xmlns:stream='${streamNs}'>`;

const readError = ({ children }: Node): PreStreamEvent => {
  const text = children.find(({ name }) => name === `{${errorNs}}text`);
  const condition = children.find((child) => child !== text);
  return {
    type: 'error',
    condition: condition?.name.replace(/^\{.*\}/, '') ?? 'undefined-condition',
    text: (text ?? condition)?.text ?? '',
  };
};

const readEvent = (node: Node): PreStreamEvent => {
  switch (node.name) {
    case `{${streamNs}}features`: {
      const offersTls = node.children.some(({ name }) => name === `{${tlsNs}}starttls`);
      return { type: 'features', offersTls };
    }
    case `{${streamNs}}error`:
      return readError(node);
    case `{${tlsNs}}proceed`:
      return { type: 'proceed' };
    case `{${tlsNs}}failure`:
      return { type: 'failure' };
    default:
      return { type: 'other', name: node.name };
  }
};

const injected = (): ProtocolError =>
  new ProtocolError('bytes in clear followed the go-ahead to TLS', 'RFC 6120 §5.4.3.3');

const refuse = (what: string) => () => {
  throw new ProtocolError(`${what} is not allowed`, 'restricted-xml');
};

/** A strict saxes that tells of the children of the stream, and of its end as null. */
const createParser = (onNode: (node: Node | null) => void) => {
  const parser = new SaxesParser({ xmlns: true, defaultXMLVersion: '1.0', forceXMLVersion: true });
  const open: Node[] = [];

  const readTag = ({ uri, local }: SaxesTagNS): void => {
    const node = { name: `{${uri}}${local}`, text: '', children: [] };
    if (open.length === 0 && node.name !== `{${streamNs}}stream`) {
      throw new ProtocolError('the answer is not an XMPP stream', 'invalid-namespace');
    }
    if (open.length > maxDepth) throw new ProtocolError('it nests too deeply', 'policy-violation');
    open.at(-1)?.children.push(node);
    open.push(node);
  };
  const closeTag = (): void => {
    const node = open.pop() ?? null;
    if (open.length <= 1) onNode(open.length === 0 ? null : node);
  };
  const addText = (text: string): void => {
    const node = open.at(-1);
    if (node !== undefined) node.text += text;
  };
  parser.on('opentag', readTag);
  parser.on('closetag', closeTag);
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.on('doctype', refuse('a document type'));
  parser.on('comment', refuse('a comment'));
  parser.on('processinginstruction', refuse('a processing instruction'));
  parser.on('error', (error) => {
    throw new ProtocolError(error.message.slice(0, maxErrorChars), 'not-well-formed');
  });
  return parser;
};

/**
 * Decodes what the server sends before TLS: each call takes the next bytes and gives what they
 * complete. Of no use after it has thrown.
 *
 * @throws ProtocolError when it is not XML as XMPP allows it, is longer than 64 kB, or goes on
 *   after `proceed`: whoever sits in between could put words there that seem to come out of TLS
 */
export const createPreStreamDecoder = (): ((bytes: Uint8Array) => PreStreamEvent[]) => {
  const decoder = new StringDecoder('utf8');
  let events: PreStreamEvent[] = [];
  let sizeBytes = 0;
  let sizeChars = 0;
  let proceedEnd: number | null = null;

  const parser = createParser((node) => {
    const event: PreStreamEvent = node === null ? { type: 'end' } : readEvent(node);
    if (event.type === 'proceed') proceedEnd ??= parser.position;
    events.push(event);
  });
  const parse = (text: string): void => {
    sizeChars += text.length;
    try {
      parser.write(text);
    } catch (error) {
      throw proceedEnd === null ? error : injected();
    }
    if (proceedEnd !== null && (proceedEnd < sizeChars || decoder.end() !== '')) throw injected();
  };
  return (bytes) => {
    if (sizeBytes === 0 && bytes[0] === tlsAlertType) return [{ type: 'tlsAlert' }];
    sizeBytes += bytes.length;
    if (sizeBytes > maxBytes) {
      throw new ProtocolError(`more than ${maxBytes} bytes came before TLS`, 'policy-violation');
    }
    events = [];
    parse(decoder.write(Buffer.from(bytes)));
    return events;
  };
};
