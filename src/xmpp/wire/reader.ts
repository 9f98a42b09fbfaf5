/** saxes, made strict and bounded, that builds elements: what the stream and fragments are read with. */
import { type Element, xml } from '@xmpp/client';
import { SaxesParser, type SaxesTagNS, type XMLDecl } from 'saxes';
import { ProtocolError } from '../../errors.ts';

export type XmlLimits = {
  /** Of one stanza, or of the stream header, in UTF-8. */
  maxStanzaBytes?: number;
  /** Of nested elements, the stanza itself being 1. */
  maxDepth?: number;
  /** Of one element, namespace declarations included. */
  maxAttributes?: number;
};

/** What becomes of the elements that are read. Depths count from `rootDepth`. */
export type Tree = {
  /** 1 when the root is a stanza; 0 when it is a stream header, which a declaration may precede. */
  rootDepth: 0 | 1;
  opened(element: Element, depth: number): void;
  closed(element: Element, depth: number): void;
};

/** Both functions throw ProtocolError, after which the reader is of no use. */
export type Reader = {
  write(text: string): void;
  end(): void;
  /** How many characters there were up to the end of the tag that `tree` was last told of. */
  readonly position: number;
};

type Saxes = SaxesParser<{ xmlns: true }>;

const maxMessageChars = 200;
const prologs = [
  /^\uFEFF?(?:<\?xml[ \t\r\n][^<>]*\?>)?[ \t\r\n]*<[^!?]/,
  /^[ \t\r\n]*<[^!?]/,
] as const;

export const tooMuch = (what: string): ProtocolError => new ProtocolError(what, 'policy-violation');

/** What saxes says, where the stream error is a more precise one than not-well-formed. */
const conditions: [said: RegExp, condition: string][] = [
  [/unbound namespace prefix/, 'bad-namespace-prefix'],
  [/undefined entity|doctype declaration/, 'restricted-xml'],
];

/** saxes throws plain errors; whatever is anything else stays what it is. */
const readSaxesError = (error: unknown): unknown => {
  if (!(error instanceof Error) || error.name !== 'Error') return error;
  const known = conditions.find(([said]) => said.test(error.message));
  // It may quote a name, and a name may be as long as a stanza. So the error itself is not kept.
  const message = error.message.slice(0, maxMessageChars);
  return new ProtocolError(message, known?.[1] ?? 'not-well-formed');
};

const refuse = (what: string) => () => {
  throw new ProtocolError(`${what} is not allowed`, 'restricted-xml');
};

const readTag = (tag: SaxesTagNS, maxAttributes: number): Element => {
  const element = new xml.Element(tag.name);
  let count = 0;
  for (const name in tag.attributes) {
    count += 1;
    if (count > maxAttributes) throw tooMuch(`an element has over ${maxAttributes} attributes`);
    element.attrs[name] = tag.attributes[name]?.value;
  }
  return element;
};

const addText = (element: Element, text: string): void => {
  const last = element.children.length - 1;
  const previous = element.children[last];
  // A CDATA section is text like any other, so it joins what stands before it.
  if (typeof previous === 'string') element.children[last] = previous + text;
  else element.children.push(text);
};

const readTags = (saxes: Saxes, limits: Required<XmlLimits>, tree: Tree) => {
  let cursor: Element | null = null;
  let depth = tree.rootDepth - 1;
  let tagEnd = 0;
  let unsettled: Element | null = null;
  const settle = (): void => {
    const element = unsettled;
    unsettled = null;
    if (element !== null) tree.closed(element, depth + 1);
  };
  // Six handlers at most: with a seventh V8 makes a hash table of saxes, which is then 4 times slower.
  saxes.on('opentag', (tag) => {
    settle();
    tagEnd = saxes.position;
    depth += 1;
    if (depth > limits.maxDepth) throw tooMuch(`elements nest deeper than ${limits.maxDepth}`);
    const element = readTag(tag, limits.maxAttributes);
    cursor?.append(element);
    cursor = element;
    tree.opened(element, depth);
  });
  saxes.on('closetag', () => {
    settle();
    tagEnd = saxes.position;
    depth -= 1;
    unsettled = cursor;
    cursor = cursor?.parent ?? null;
  });
  // Outside the root saxes lets white space through, and nothing else.
  const readText = (text: string): void => (cursor === null ? undefined : addText(cursor, text));
  saxes.on('text', readText);
  saxes.on('cdata', readText);
  saxes.on('comment', refuse('a comment'));
  saxes.on('processinginstruction', refuse('a processing instruction'));
  return { settle, tagEnd: () => tagEnd };
};

/** saxes reads past a document type without a word, so what stands before the root is looked at here. */
const requireProlog = (head: string, prolog: RegExp, { encoding }: XMLDecl): void => {
  if (!prolog.test(head)) refuse('what stands before the root element')();
  if (encoding === undefined || /^utf-?8$/i.test(encoding)) return;
  throw new ProtocolError('the encoding is not UTF-8', 'unsupported-encoding');
};

const loneSurrogate = /[\uD800-\uDFFF]/u;

export const createReader = (limits: Required<XmlLimits>, tree: Tree): Reader => {
  // XML 1.1 would let control characters in.
  const saxes = new SaxesParser({ xmlns: true, defaultXMLVersion: '1.0', forceXMLVersion: true });
  let head: string | null = '';
  const opened = (element: Element, depth: number): void => {
    if (head !== null) requireProlog(head, prologs[tree.rootDepth], saxes.xmlDecl);
    head = null;
    tree.opened(element, depth);
  };
  const tags = readTags(saxes, limits, { ...tree, opened });
  const attempt = (action: () => void): void => {
    try {
      action();
      tags.settle();
    } catch (error) {
      // saxes tells of a closing tag before it compares the names: such an error comes at its end.
      if (saxes.position > tags.tagEnd()) tags.settle();
      throw readSaxesError(error);
    }
  };
  return {
    write: (text) => {
      if (head !== null) head += text;
      // saxes would take a high surrogate and whatever follows for one character, even a <.
      const end = text.isWellFormed() ? text.length : text.search(loneSurrogate);
      attempt(() => saxes.write(text.slice(0, end)));
      if (end < text.length) throw new ProtocolError('a lone surrogate', 'not-well-formed');
    },
    end: () => attempt(() => saxes.close()),
    get position() {
      return tags.tagEnd();
    },
  };
};
