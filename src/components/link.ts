/**
 * One component's life: online while its row says so, trying again when it may help, resting when only a
 * person can help. What comes is its service's first, and is answered here if that does not take it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Element } from '@xmpp/client';
import { RetryError } from '../errors.ts';
import type { Log } from '../log.ts';
import { decideRest } from '../xmpp/backoff.ts';
import { type ComponentOptions, type ComponentSession, openComponent } from '../xmpp/component.ts';
import { createRequester } from '../xmpp/requester.ts';
import { readSecret } from '../xmpp/secret.ts';
import { formatRefusal } from '../xmpp/wire/answer.ts';
import { readJid } from '../xmpp/wire/jid.ts';
import { answerStanza } from './answers.ts';
import type { Component, Serve } from './component.ts';
import type { ComponentRow, ComponentState } from './store.ts';

export type LinkParts = {
  serve: Serve;
  log: Log;
  /** Of the program. */
  version: string;
  /** Whether the daemon may still speak for its components. */
  isFresh(): boolean;
  report(state: ComponentState): void;
  /** For tests: how long silences are borne. */
  timing: Pick<ComponentOptions, 'loginMs' | 'keepAliveMs' | 'patienceMs'>;
};

export type Link = {
  /** In its normal form. */
  domain: string;
  component: Component;
  /** Takes a changed row of the same domain. */
  change(row: ComponentRow): void;
  /** Lets the service say its last words, then goodbye, both within `timeoutMs`. */
  close(timeoutMs: number): Promise<void>;
  /** Drops the connection without a word. */
  drop(): void;
};

const STABLE_MS = 60_000;

/** Of an address that is not in order but for its domain, too. */
const domainOf = (address = ''): string | null =>
  readJid(address.replace(/\/.*$/s, '').replace(/^.*@/s, ''));

const isRequest = ({ name, attrs: { type, from, to } }: Element): boolean =>
  name === 'iq' && (type === 'get' || type === 'set') && Boolean(from) && Boolean(to);

/** @param domain of the row, in its normal form */
export const createLink = (first: ComponentRow, domain: string, parts: LinkParts): Link => {
  const log = parts.log.child({ component: domain });
  let row = first;
  let session: ComponentSession | null = null;
  let attempt = new AbortController();
  let retry: NodeJS.Timeout | null = null;
  let isClosed = false;
  /** What ended the last stream. */
  let ending: Error | null = null;
  /** The goodbyes under way. */
  let farewell: Promise<unknown> = Promise.resolve();
  let onlineSince = 0;
  let hasStrayed = false;
  const track = { failures: 0, conflicts: [], conflictMs: 0 };

  const isOnline = (): boolean => session?.isOpen() === true && parts.isFresh();
  const send = (stanzas: string): boolean => {
    if (!session || !isOnline()) return false;
    session.send(stanzas);
    return true;
  };
  const requester = createRequester({
    send,
    ownJid: () => domain,
    notOnline: 'the component is not online',
  });
  const component: Component = {
    id: first.id,
    domain,
    log,
    isOnline,
    send,
    request: (question) => requester.ask({ from: domain, ...question }),
  };
  const service = parts.serve(component);

  const tell = (state: ComponentState['state'], info: string | null, afterMs: number | null) =>
    parts.report({ componentId: row.id, state, info, afterMs });

  const handle = (stanza: Element) => {
    if (stanza.name === 'iq' && requester.take(stanza) !== null) return;
    if (service.receive?.(stanza) === 'taken') return;
    const answer = answerStanza(stanza, { service, version: parts.version, now: new Date() });
    if (answer !== null) send(answer);
  };

  /** Of another component of the server: an answer from here would be in its name. */
  const stray = (stanza: Element) => {
    if (hasStrayed) return;
    hasStrayed = true;
    const hint = 'stanzas of another domain come here; in ejabberd, set global_routes to false';
    log.warn({ to: stanza.attrs.to }, hint);
  };

  const receive = (stanza: Element) => {
    if (domainOf(stanza.attrs.to) !== domain) return stray(stanza);
    try {
      handle(stanza);
    } catch (err) {
      log.error({ err }, 'stanza not handled');
      if (isRequest(stanza)) send(formatRefusal(stanza, { condition: 'internal-server-error' }));
    }
  };

  /** The stream is gone. */
  const leave = () => {
    requester.fail(new RetryError('the stream was lost', 0));
    try {
      service.onOffline?.();
    } catch (err) {
      log.error({ err }, 'end of the stream not handled');
    }
  };

  const sayLastWords = async () => {
    try {
      await service.close?.();
    } catch (err) {
      log.error({ err }, 'last words not said');
    }
  };

  const restBecause = (error: unknown, news: 'first' | 'again') => {
    const { state, info, afterMs } = decideRest(error, track, Math.random(), Date.now());
    // Said once for each outage; the row tells the rest.
    log[news === 'first' ? 'warn' : 'debug'](
      { reason: info, nextTryMs: afterMs },
      `component ${state}`,
    );
    track.failures += 1;
    tell(state, info, afterMs);
    if (afterMs !== null) retry = setTimeout(start, afterMs);
  };

  const onClose = (error: Error | null) => {
    ending = error;
    if (!session) return;
    if (Date.now() - onlineSince > STABLE_MS) track.failures = 0;
    session = null;
    leave();
    if (!isClosed && error !== null) restBecause(error, 'first');
  };

  const onOpen = (opened: ComponentSession) => {
    if (!opened.isOpen()) throw ending ?? new RetryError('the stream ended at once', 0);
    session = opened;
    onlineSince = Date.now();
    tell('online', opened.via, null);
    log.info({ via: opened.via }, 'component online');
    service.onOnline?.();
    opened.begin();
  };

  const connect = async (signal: AbortSignal): Promise<void> => {
    const { host, port, tls, ca } = row;
    const secret = await readSecret(row.secret, 'secret');
    signal.throwIfAborted();
    tell('connecting', null, null);
    const options = { domain, secret, host, port, tls, ca, ...parts.timing };
    const opened = await openComponent(options, { onStanza: receive, onClose }, signal);
    if (signal.aborted) opened.drop(null);
    else onOpen(opened);
  };

  const start = () => {
    retry = null;
    attempt = new AbortController();
    const { signal } = attempt;
    connect(signal).catch((error: unknown) => {
      if (signal.aborted) return;
      giveUp()?.drop(null);
      restBecause(error, track.failures === 0 ? 'first' : 'again');
    });
  };

  const halt = () => {
    if (retry) clearTimeout(retry);
    retry = null;
    attempt.abort(new Error('no longer wanted'));
  };

  /** @returns the stream that was, to be ended */
  const giveUp = (): ComponentSession | null => {
    const old = session;
    session = null;
    if (old) leave();
    return old;
  };

  const restart = () => {
    halt();
    track.failures = 0;
    const goodbye = Promise.all([farewell, giveUp()?.close()]);
    farewell = goodbye;
    goodbye
      // Changed again meanwhile, the last change starts it.
      .then(() => (farewell === goodbye && !isClosed ? start() : undefined))
      .catch((err: unknown) => log.error({ err }, 'component not restarted'));
  };

  start();
  return {
    domain,
    component,
    change(changed) {
      const old = row;
      row = changed;
      // Each sync tells of every component; a refused secret must not be tried again for that.
      if (!isDeepStrictEqual(old, changed)) restart();
    },
    async close(timeoutMs) {
      isClosed = true;
      halt();
      const tired = delay(timeoutMs, undefined, { ref: false });
      await Promise.race([sayLastWords(), tired]);
      await Promise.all([farewell, giveUp()?.close()]);
    },
    drop() {
      isClosed = true;
      halt();
      giveUp()?.drop(null);
    },
  };
};
