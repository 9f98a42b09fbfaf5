/** Keeps what a peer has received, and lets tests wait for it. */
import type { Stanza } from './xmlReader.ts';

export type StanzaLog = {
  /** All that has arrived, in order. */
  stanzas: Stanza[];
  /**
   * Takes the first stanza that fits and that nobody has taken; waits for it if need be.
   *
   * @throws Error when the time is up or the connection ends before
   */
  next(predicate: (stanza: Stanza) => boolean, timeoutMs?: number): Promise<Stanza>;
  /** @returns what ends the listening */
  onStanza(listener: (stanza: Stanza) => void): () => void;
  add(stanza: Stanza): void;
  /** Nothing more will arrive: those who wait are told why. */
  end(reason: string): void;
};

type Waiter = {
  predicate: (stanza: Stanza) => boolean;
  resolve: (stanza: Stanza) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
};

export const createStanzaLog = (): StanzaLog => {
  const stanzas: Stanza[] = [];
  const untaken = new Set<Stanza>();
  const waiters = new Set<Waiter>();
  const listeners = new Set<(stanza: Stanza) => void>();
  let ending: string | null = null;
  const drop = (waiter: Waiter) => {
    clearTimeout(waiter.timer);
    waiters.delete(waiter);
  };
  const wait = (predicate: Waiter['predicate'], timeoutMs: number): Promise<Stanza> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        drop(waiter);
        reject(new Error(`no such stanza within ${timeoutMs} ms; ${tell(stanzas)}`));
      }, timeoutMs);
      const waiter = { predicate, resolve, reject, timer };
      waiters.add(waiter);
    });
  return {
    stanzas,
    async next(predicate, timeoutMs = 5_000) {
      const found = [...untaken].find(predicate);
      if (found) untaken.delete(found);
      if (found) return found;
      if (ending !== null) throw new Error(`${ending}; ${tell(stanzas)}`);
      return wait(predicate, timeoutMs);
    },
    onStanza(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    add(stanza) {
      stanzas.push(stanza);
      for (const listener of listeners) listener(stanza);
      const waiter = [...waiters].find(({ predicate }) => predicate(stanza));
      if (!waiter) untaken.add(stanza);
      if (!waiter) return;
      drop(waiter);
      waiter.resolve(stanza);
    },
    end(reason) {
      ending = reason;
      for (const waiter of waiters) {
        drop(waiter);
        waiter.reject(new Error(`${reason}; ${tell(stanzas)}`));
      }
    },
  };
};

const tell = (stanzas: Stanza[]): string => {
  const last = stanzas.slice(-3).map(({ xml }) => xml.slice(0, 300));
  return `${stanzas.length} arrived, the last: ${last.join(' ') || 'none'}`;
};
