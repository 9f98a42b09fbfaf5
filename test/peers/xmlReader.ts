/** Reads an XMPP stream for the peers. It shares no code with the product that the peers test. */
import { TextDecoder } from 'node:util';
import { SaxesParser, type SaxesTagNS } from 'saxes';

export type XmlElement = {
  /** Without its prefix. */
  name: string;
  ns: string;
  /** By the name as written, prefix included. */
  attrs: Record<string, string>;
  children: XmlElement[];
  /** Its own text, without that of its children. */
  text: string;
  /** The first child of that name. */
  find(name: string, ns?: string): XmlElement | null;
};

/** A top-level element as it was on the wire, and what it says. */
export type Stanza = {
  xml: string;
  element: XmlElement;
  at: Date;
};

export type StreamEvents = {
  onHeader(element: XmlElement): void;
  onStanza(stanza: Stanza): void;
  /** `</stream:stream>` has arrived. */
  onFooter(): void;
};

export type XmlReader = {
  /** @throws Error when the bytes are not UTF-8 or the text is not well-formed */
  read(bytes: Uint8Array): void;
};

/** @returns a reader for one stream; after authentication a new one is needed */
export const createXmlReader = (events: StreamEvents): XmlReader => {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const parser = new SaxesParser({ xmlns: true });
  const open: XmlElement[] = [];
  const wire = createWire();
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('opentag', (tag) => {
    const element = createElement(tag);
    open.at(-1)?.children.push(element);
    open.push(element);
    if (open.length > 1) return;
    wire.cut(parser.position);
    events.onHeader(element);
  });
  const addText = (text: string) => {
    const element = open.at(-1);
    if (element) element.text += text;
  };
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.on('closetag', () => {
    const element = open.pop();
    if (open.length === 0) events.onFooter();
    if (open.length !== 1 || !element) return;
    // The header would otherwise grow with every stanza.
    open[0]?.children.pop();
    const xml = wire.cut(parser.position).trim();
    events.onStanza({ xml, element, at: new Date() });
  });
  return {
    read(bytes) {
      const text = decoder.decode(bytes, { stream: true });
      wire.add(text);
      parser.write(text);
    },
  };
};

/** The text that the parser has not yet made into a stanza. */
const createWire = () => {
  let text = '';
  let startsAt = 0;
  return {
    add(more: string) {
      text += more;
    },
    cut(position: number): string {
      const piece = text.slice(0, position - startsAt);
      text = text.slice(position - startsAt);
      startsAt = position;
      return piece;
    },
  };
};

const createElement = (tag: SaxesTagNS): XmlElement => {
  const children: XmlElement[] = [];
  const attrs = Object.entries(tag.attributes).map(([name, { value }]) => [name, value]);
  return {
    name: tag.local,
    ns: tag.uri,
    attrs: Object.fromEntries(attrs),
    children,
    text: '',
    find: (name, ns) =>
      children.find((child) => child.name === name && (ns === undefined || child.ns === ns)) ??
      null,
  };
};

/** Text made fit for an attribute or an element. */
export const escapeXml = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll("'", '&apos;')
    .replaceAll('"', '&quot;');
