/** Records every message that reaches a peer, and tells what a crash has lost, doubled or mixed. */
import type { RawClient } from './rawClient.ts';
import type { Stanza } from './xmlReader.ts';

export type SinkMessage = {
  /** Counted from 0, over all the clients of the sink. */
  order: number;
  id: string | null;
  originId: string | null;
  from: string | null;
  body: string;
  /** When the server got it, if it says that it held it back (XEP-0203). */
  delayedAt: Date | null;
  at: Date;
};

export type Sink = {
  messages: SinkMessage[];
  /** Records a further client as well, such as the one that connected anew. */
  attach(client: RawClient): void;
  /** Settles when every body has arrived. @throws Error with what is missing when the time is up */
  waitFor(bodies: string[], timeoutMs: number): Promise<void>;
  missing(expectedBodies: string[]): string[];
  /** Bodies that arrived more than once, with every id they had. */
  duplicates(): { body: string; ids: (string | null)[] }[];
  /**
   * Messages that came after one of a greater number. What arrives again is passed over.
   *
   * @param key the place in the order, and of which order, such as a sender's; null for none
   */
  outOfOrder(
    key: (message: SinkMessage) => { stream: string; number: number } | null,
  ): SinkMessage[];
};

export const createSink = (client: RawClient): Sink => {
  const messages: SinkMessage[] = [];
  const seen = new Map<string, SinkMessage[]>();
  const listeners = new Set<(message: SinkMessage) => void>();
  const record = (stanza: Stanza) => {
    const message = readMessage(stanza, messages.length);
    if (message === null) return;
    messages.push(message);
    seen.set(message.body, [...(seen.get(message.body) ?? []), message]);
    for (const listener of listeners) listener(message);
  };
  const attach = (attached: RawClient) => {
    for (const stanza of attached.stanzas) record(stanza);
    attached.onStanza(record);
  };
  const missing = (bodies: string[]) => bodies.filter((body) => !seen.has(body));
  attach(client);
  return {
    messages,
    attach,
    missing,
    waitFor: (bodies, timeoutMs) => waitFor(new Set(missing(bodies)), listeners, timeoutMs),
    duplicates: () =>
      [...seen]
        .filter(([, copies]) => copies.length > 1)
        .map(([body, copies]) => ({ body, ids: copies.map(({ id }) => id) })),
    outOfOrder: (key) => findOutOfOrder(messages, key),
  };
};

const readMessage = ({ element, at }: Stanza, order: number): SinkMessage | null => {
  const body = element.find('body');
  if (element.name !== 'message' || element.attrs.type === 'error' || !body) return null;
  const stamp = element.find('delay', 'urn:xmpp:delay')?.attrs.stamp;
  return {
    order,
    id: element.attrs.id ?? null,
    originId: element.find('origin-id', 'urn:xmpp:sid:0')?.attrs.id ?? null,
    from: element.attrs.from ?? null,
    body: body.text,
    delayedAt: stamp ? new Date(stamp) : null,
    at,
  };
};

const waitFor = (
  left: Set<string>,
  listeners: Set<(message: SinkMessage) => void>,
  timeoutMs: number,
): Promise<void> =>
  new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      clearTimeout(timer);
      listeners.delete(look);
      if (error) reject(error);
      else resolve();
    };
    const look = ({ body }: SinkMessage) => {
      left.delete(body);
      if (left.size === 0) settle();
    };
    const timer = setTimeout(() => {
      const some = [...left].slice(0, 5).join(', ');
      settle(new Error(`${left.size} are missing after ${timeoutMs} ms, such as ${some}`));
    }, timeoutMs);
    listeners.add(look);
    if (left.size === 0) settle();
  });

const findOutOfOrder = (
  messages: SinkMessage[],
  key: (message: SinkMessage) => { stream: string; number: number } | null,
): SinkMessage[] => {
  const greatest = new Map<string, number>();
  const bodies = new Set<string>();
  return messages.filter((message) => {
    const place = key(message);
    if (place === null || bodies.has(message.body)) return false;
    bodies.add(message.body);
    const before = greatest.get(place.stream) ?? Number.NEGATIVE_INFINITY;
    greatest.set(place.stream, Math.max(before, place.number));
    return place.number < before;
  });
};
