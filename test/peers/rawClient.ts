/** A small XMPP client for the far end of the wire. It shares no code with the product. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createStanzaLog, type StanzaLog } from './stanzaLog.ts';
import { createXmlReader, escapeXml, type Stanza, type XmlElement } from './xmlReader.ts';

export type RawClientOptions = {
  host: string;
  port: number;
  /** Bare. */
  jid: string;
  password: string;
  resource?: string;
  /** Whether to become available; true if absent. */
  presence?: boolean;
};

export type RawClient = Pick<StanzaLog, 'stanzas' | 'next' | 'onStanza'> & {
  /** With the resource that the server gave. */
  jid: string;
  /** Writes the text as it stands. */
  send(xml: string): void;
  /** @returns the answer, a result or an error, to the request; its id is read from its text */
  iq(xml: string): Promise<Stanza>;
  /** Settles when the connection has ended, with what is known of the cause. */
  closed: Promise<string>;
  /** Ends the stream in good order. */
  close(): Promise<void>;
  /** Cuts the connection with a reset. */
  destroy(): void;
};

type Wire = {
  socket: Socket;
  log: StanzaLog;
  closed: Promise<string>;
  /** Begins a stream, which needs a new parser; settles with the stream's features. */
  openStream(domain: string): Promise<XmlElement>;
};

const STREAM = 'http://etherx.jabber.org/streams';
const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl';
const BIND = 'urn:ietf:params:xml:ns:xmpp-bind';

/** @throws Error when the server refuses */
export const connectRaw = async (options: RawClientOptions): Promise<RawClient> => {
  const socket = connect({ host: options.host, port: options.port, noDelay: true });
  const wire = createWire(socket);
  try {
    await once(socket, 'connect');
    await authenticate(wire, options);
    const jid = await bind(wire, options);
    if (options.presence ?? true) wire.socket.write('<presence/>');
    return createClient(wire, jid);
  } catch (error) {
    socket.destroy();
    throw error;
  }
};

const createWire = (socket: Socket): Wire => {
  const log = createStanzaLog();
  const events = {
    onHeader: () => {},
    onStanza: log.add,
    onFooter: () => endStream(socket),
  };
  let reader = createXmlReader(events);
  let cause = 'the connection has ended';
  socket.on('data', (bytes) => {
    try {
      reader.read(bytes);
    } catch (error) {
      socket.destroy(new Error('the server broke the stream', { cause: error }));
    }
  });
  socket.on('error', (error) => {
    cause = `${error.message} ${error.cause ?? ''}`.trim();
  });
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => {
      log.end(cause);
      resolve(cause);
    });
  });
  const openStream = async (domain: string) => {
    reader = createXmlReader(events);
    socket.write(
      `<?xml version='1.0'?><stream:stream to='${escapeXml(domain)}' version='1.0' ` +
        `xmlns='jabber:client' xmlns:stream='${STREAM}'>`,
    );
    return (await log.next(({ element }) => element.name === 'features')).element;
  };
  return { socket, log, closed, openStream };
};

const endStream = (socket: Socket): void => {
  if (!socket.writableEnded) socket.end('</stream:stream>');
};

const domainOf = (jid: string): string => jid.slice(jid.indexOf('@') + 1);

const authenticate = async (wire: Wire, { jid, password }: RawClientOptions): Promise<void> => {
  await wire.openStream(domainOf(jid));
  const name = jid.slice(0, jid.indexOf('@'));
  const response = Buffer.from(`\0${name}\0${password}`).toString('base64');
  wire.socket.write(`<auth xmlns='${SASL}' mechanism='PLAIN'>${response}</auth>`);
  const answer = await wire.log.next(({ element }) => element.ns === SASL);
  if (answer.element.name !== 'success') throw new Error(`not authenticated: ${answer.xml}`);
};

const bind = async (wire: Wire, { jid, resource }: RawClientOptions): Promise<string> => {
  await wire.openStream(domainOf(jid));
  const wanted = resource ? `<resource>${escapeXml(resource)}</resource>` : '';
  const answer = await ask(
    wire,
    `<iq type='set' id='raw-bind'><bind xmlns='${BIND}'>${wanted}</bind></iq>`,
  );
  const bound = answer.element.find('bind', BIND)?.find('jid')?.text;
  if (!bound) throw new Error(`not bound: ${answer.xml}`);
  return bound;
};

const ask = (wire: Wire, xml: string): Promise<Stanza> => {
  const id = xml.match(/\sid=['"]([^'"]*)['"]/)?.[1];
  if (!id) throw new Error(`the request has no id: ${xml}`);
  wire.socket.write(xml);
  return wire.log.next(
    ({ element: { name, attrs } }) =>
      name === 'iq' && attrs.id === id && (attrs.type === 'result' || attrs.type === 'error'),
  );
};

const createClient = (wire: Wire, jid: string): RawClient => ({
  jid,
  stanzas: wire.log.stanzas,
  next: wire.log.next,
  onStanza: wire.log.onStanza,
  closed: wire.closed,
  send: (xml) => {
    wire.socket.write(xml);
  },
  iq: (xml) => ask(wire, xml),
  async close() {
    endStream(wire.socket);
    await wire.closed;
  },
  destroy: () => {
    wire.socket.resetAndDestroy();
  },
});
