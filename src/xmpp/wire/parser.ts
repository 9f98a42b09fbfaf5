/** The stream a server sends, as elements. */
import { EventEmitter } from 'node:events';
import type { Element } from '@xmpp/client';
import { ProtocolError } from '../../errors.ts';
import { createReader, tooMuch, type XmlLimits } from './reader.ts';
import { maxStanzaDepth } from './xml.ts';

export type StreamEvents = {
  /** The stream header. Stanzas are not kept among its children. */
  start: [root: Element];
  /** A stanza or nonza. Its parent is the stream header, which may declare its namespace. */
  element: [element: Element];
  end: [root: Element];
  error: [error: Error];
};

export type StreamParser = EventEmitter<StreamEvents> & { write(text: string): void };

type StreamEvent =
  | { name: 'start' | 'element' | 'end'; element: Element }
  | { name: 'error'; error: Error };

const streamLimits = { maxStanzaBytes: 1024 * 1024, maxDepth: maxStanzaDepth, maxAttributes: 128 };
/** What is written is read in pieces, so that a limit acts at most this far behind. */
const pieceChars = 64 * 1024;
const solid = /[^ \t\r\n]/;

/** Empties the stream header, in which saxes has left the white space between two stanzas. */
const clearRoot = (root: Element): void => {
  const hasText = root.children.some((child) => typeof child === 'string' && solid.test(child));
  if (hasText) throw new ProtocolError('there is text between stanzas', 'bad-format');
  root.children = [];
};

/** Counts a stanza's bytes from the end of the one before. Positions count from the stream's start. */
const createMeter = (maxBytes: number) => {
  let piece = '';
  let pieceAt = 0;
  let measuredAt = 0;
  let sizeBytes = 0;
  const unmeasured = (until: number): string => piece.slice(measuredAt - pieceAt, until - pieceAt);
  const measure = (until: number): void => {
    sizeBytes += Buffer.byteLength(unmeasured(until));
    if (sizeBytes > maxBytes) throw tooMuch(`a stanza is larger than ${maxBytes} bytes`);
    measuredAt = until;
  };
  return {
    beginPiece: (text: string): void => {
      pieceAt += piece.length;
      piece = text;
      measuredAt = pieceAt;
    },
    endPiece: (): void => measure(pieceAt + piece.length),
    endStanza: (at: number): void => {
      measure(at);
      sizeBytes = 0;
    },
    unmeasured: (): string => unmeasured(pieceAt + piece.length),
  };
};

/** Gives each piece to saxes, and returns the events it completes; nothing follows an error. */
const createStreamReader = (limits: Required<XmlLimits>) => {
  const meter = createMeter(limits.maxStanzaBytes);
  let events: StreamEvent[] = [];
  let isBetween = false;

  const finish = (name: 'start' | 'element' | 'end', element: Element): void => {
    meter.endStanza(reader.position);
    isBetween = true;
    events.push({ name, element });
  };
  const reader = createReader(limits, {
    rootDepth: 0,
    opened: (element, depth) => {
      if (depth === 0) finish('start', element);
      if (depth === 1 && element.parent !== null) clearRoot(element.parent);
    },
    closed: (element, depth) => {
      if (depth === 0) clearRoot(element);
      if (depth < 2) finish(depth === 0 ? 'end' : 'element', element);
    },
  });
  const read = (text: string): void => {
    // Keepalives between stanzas are not fed: saxes would hoard them until the next tag.
    const start = isBetween ? text.search(solid) : 0;
    if (start === -1) return;
    meter.beginPiece(text.slice(start));
    isBetween = false;
    reader.write(text.slice(start));
    isBetween &&= !solid.test(meter.unmeasured());
    if (!isBetween) meter.endPiece();
  };

  return (text: string): StreamEvent[] => {
    events = [];
    try {
      read(text);
    } catch (error) {
      events.push({ name: 'error', error: error instanceof Error ? error : new Error(`${error}`) });
    }
    return events;
  };
};

/** Where to cut so that no surrogate pair is cut: `end` itself, or one before it. */
const cutBefore = (text: string, end: number): number =>
  /[\uD800-\uDBFF]/.test(text.charAt(end - 1)) ? end - 1 : end;

const cutPieces = (text: string): string[] => {
  const pieces: string[] = [];
  let start = 0;
  while (start < text.length) {
    const end = start + pieceChars;
    const cut = end < text.length ? cutBefore(text, end) : text.length;
    pieces.push(text.slice(start, cut));
    start = cut;
  }
  return pieces;
};

const emit = (emitter: EventEmitter<StreamEvents>, event: StreamEvent): void => {
  if (event.name !== 'error') emitter.emit(event.name, event.element);
  // Node throws an error that nobody listens to, and Connection stops listening when it closes.
  else if (emitter.listenerCount('error') > 0) emitter.emit('error', event.error);
};

/**
 * A parser as Connection of @xmpp wants one. Connection calls it with `new`, which a plain function
 * that returns an object serves as well; this is why it is no arrow function.
 *
 * Events come at the end of `write`, which itself never throws: a listener that does leaves the events
 * after it to the next call. The first error is the last event, and is a ProtocolError whose `source`
 * is the stream error to answer with (RFC 6120 §4.9.3). After it, or after `end`, input is ignored.
 */
export function createStreamParser(limits: XmlLimits = {}): StreamParser {
  const emitter = new EventEmitter<StreamEvents>();
  const read = createStreamReader({ ...streamLimits, ...limits });
  const pending: StreamEvent[] = [];
  let delivered = 0;
  let half = '';
  let isOver = false;

  const add = (event: StreamEvent): void => {
    if (isOver) return;
    pending.push(event);
    isOver = event.name === 'end' || event.name === 'error';
  };
  const feed = (text: string): void => {
    const end = cutBefore(text, text.length);
    half = text.slice(end);
    for (const piece of cutPieces(text.slice(0, end))) {
      if (!isOver) read(piece).forEach(add);
    }
  };
  const deliver = (): void => {
    for (let event = pending[delivered]; event; event = pending[delivered]) {
      delivered += 1;
      emit(emitter, event);
    }
    pending.length = 0;
    delivered = 0;
  };
  const write = (text: string): void => {
    if (!isOver) feed(half + text);
    deliver();
  };
  return Object.assign(emitter, { write });
}
