/**
 * One account's life: online while its row says so, trying again when it may help, resting when only a
 * person can help. Rows go out in order through it, and stanzas come in.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Element } from '@xmpp/client';
import type { QueueRow } from '../db/linkBuffer.ts';
import type { Queue, Link as QueueLink } from '../db/queue.ts';
import { ConfigError, ProtocolError, RetryError } from '../errors.ts';
import type { Log } from '../log.ts';
import {
  openSession,
  type Resumption,
  type Session,
  type SessionOptions,
} from '../xmpp/session.ts';
import { bareJid, parseJid } from '../xmpp/wire/jid.ts';
import { decideRest, isResting, type Rest } from './backoff.ts';
import type { Inbox, Letter } from './inbox.ts';
import { createOutbox, type Outbox } from './outbox.ts';
import { formatStanzaId, parseStanzaId } from './stanzaId.ts';
import {
  answerIq,
  buildPresence,
  buildReceipt,
  buildSubscriptionAnswer,
  type Outgoing,
  readMessage,
} from './stanzas.ts';
import type { Account, AccountState } from './store.ts';

export type TxRow = QueueRow & Outgoing & { insertedAtS: number };

/** What a link needs of the gateway. */
export type LinkParts = {
  queue: Queue<TxRow>;
  inbox: Inbox;
  log: Log;
  /** Signs stanza ids. */
  secret(): string;
  /** Whether the daemon may still speak for its accounts. */
  isFresh(): boolean;
  /** Lets a login to a host begin in its turn; what it returns ends the turn. */
  enter(accountId: number, host: string): Promise<() => void>;
  report(state: AccountState): void;
  selectResumption(accountId: number): Promise<Resumption | null>;
  upsertResumption(accountId: number, resumption: Resumption): Promise<void>;
  deleteResumption(accountId: number): Promise<void>;
  /** For tests: how long silences are borne. */
  timing?: Pick<SessionOptions, 'loginMs' | 'keepAliveMs' | 'patienceMs'>;
};

export type Link = {
  account: Account;
  /** Why the account is not to be expected online by itself; null while it is, or tries to be. */
  restsBecause(): string | null;
  /** Takes a changed row; reconnects only for what the connection depends on. */
  change(account: Account): void;
  /** Says goodbye once all that was sent is acknowledged, or `timeoutMs` have passed. */
  close(timeoutMs: number): Promise<void>;
  /** Drops the connection without a word. */
  drop(): void;
};

/** Uncommitted letters at which reading stops, below what makes servers give the stream up. */
const BACKLOG_MAX = 300;
const STABLE_MS = 60_000;
const COMMIT_POLL_MS = 10;

/** The password itself, or what it refers to, read anew at each login. */
const readPassword = async (text: string): Promise<string> => {
  const [, kind, name = ''] = /^(env|file):(.+)$/s.exec(text) ?? [];
  if (kind === 'env') {
    const value = process.env[name];
    if (value !== undefined) return value;
    throw new ConfigError(`acc_pass names the environment variable ${name}, which is not set`);
  }
  if (kind !== 'file') return text;
  const content = await readFile(name, 'utf8').catch((cause: unknown) => {
    throw new ConfigError(`acc_pass names the file ${name}, which cannot be read`, { cause });
  });
  return content.replace(/\r?\n$/, '');
};

const CONNECTION_FIELDS = [
  'jid',
  'password',
  'host',
  'port',
  'resource',
  'tls',
  'ca',
] as const satisfies (keyof Account)[];

const needsReconnect = (a: Account, b: Account): boolean =>
  CONNECTION_FIELDS.some((field) => a[field] !== b[field]);

const hasOtherPresence = (a: Account, b: Account): boolean =>
  a.priority !== b.priority || a.show !== b.show || a.status !== b.status;

export const createLink = (first: Account, parts: LinkParts): Link => {
  const { queue, inbox, log, report } = parts;
  let account = first;
  let ownJid = first.jid;
  let session: Session | null = null;
  let resumption: Resumption | null = null;
  /** Whether the last stream may go on: not after an error, which it would only meet again. */
  let isResumable = true;
  let attempt = new AbortController();
  let retry: NodeJS.Timeout | null = null;
  let rest: Rest | null = null;
  let isClosed = false;
  /** The goodbyes under way. */
  let farewell: Promise<unknown> = Promise.resolve();
  let onlineSince = 0;
  /** The presence that the server was last told. */
  let introduction = '';
  /** What the current stream has brought and the inbox has not stored yet. */
  let reception = { uncommitted: 0 };
  const track = { failures: 0, conflicts: [] as number[] };

  const outbox: Outbox = createOutbox({
    build: (row) => {
      const id = formatStanzaId(parts.secret(), { id: row.id, insertedAtS: row.insertedAtS });
      return { id, maxBytes: account.maxStanzaBytes };
    },
    log: log.child({ account: first.id }),
  });
  let rows: QueueLink<TxRow> | null = null;

  const canSend = (): boolean => !isClosed && session?.isOpen() === true && parts.isFresh();
  const pump = () => {
    if (rows && session && canSend()) outbox.pump(rows, session);
  };
  const openRows = () => {
    rows ??= queue.openLink(account.id, pump);
  };
  const closeRows = () => {
    if (rows) outbox.giveBack(rows);
    rows?.close();
    rows = null;
  };

  const tell = (
    state: AccountState['state'],
    info: string | null,
    more: Partial<AccountState> = {},
  ) => report({ accountId: account.id, state, info, afterMs: null, fullJid: null, ...more });

  const answerSubscription = (from: string) => {
    const answers = { accept: 'subscribed', reject: 'unsubscribed', ask: null } as const;
    const answer = answers[account.subscriptionPolicy];
    log.info({ account: account.id, peer: from, answer }, 'asked for a subscription');
    if (answer && session)
      outbox.sendAside(session, buildSubscriptionAnswer(bareJid(from), answer));
  };

  const commit = (receiver: Session | null, own: typeof reception, count: number) => {
    receiver?.commit(count);
    // The stream may be down by now; it is resumed from here.
    if (resumption && own === reception) resumption.h = count;
  };

  /** No more is acknowledged than the table knows of: a stream is not resumed from a count that goes back. */
  const put = (
    content: Pick<Letter, 'incoming' | 'report'>,
    count: number | null,
    onStored: (receiver: Session | null) => void = () => {},
  ) => {
    const receiver = session;
    const streamId = receiver?.streamId;
    const own = reception;
    own.uncommitted += 1;
    inbox.put({
      accountId: account.id,
      ownJid,
      ...content,
      progress: streamId && count !== null ? { streamId, h: count } : null,
      onCommitted() {
        own.uncommitted -= 1;
        if (count !== null) commit(receiver, own, count);
        if (own.uncommitted < BACKLOG_MAX / 2) receiver?.resume();
        onStored(receiver);
      },
    });
    if (own.uncommitted > BACKLOG_MAX) receiver?.pause();
  };

  const receiveMessage = (stanza: Element, count: number | null) => {
    const { incoming, report: seen, wantsReceipt } = readMessage(stanza, ownJid);
    const key = seen ? parseStanzaId(parts.secret(), seen.id) : null;
    // An error that is none of a sent row is kept as a message of its own.
    const isOurs = seen !== null && key !== null;
    const content = {
      incoming: isOurs && seen.kind === 'failed' ? null : incoming,
      report: isOurs ? { ...seen, key, accountId: account.id } : null,
    };
    put(content, count, (receiver) => {
      log.debug({ account: account.id, peer: stanza.attrs.from }, 'message received');
      if (wantsReceipt && account.sendReceipts && receiver?.isOpen()) {
        outbox.sendAside(receiver, buildReceipt(stanza));
      }
    });
  };

  const receive = (stanza: Element, count: number | null) => {
    if (stanza.name === 'message') {
      receiveMessage(stanza, count);
      return;
    }
    const answer = stanza.name === 'iq' ? answerIq(stanza) : null;
    if (answer && session) outbox.sendAside(session, answer);
    const { from, type } = stanza.attrs;
    if (stanza.name === 'presence' && type === 'subscribe' && from) answerSubscription(from);
    if (count !== null) put({ incoming: null, report: null }, count);
  };

  const receiveSafely = (stanza: Element, count: number | null) => {
    try {
      receive(stanza, count);
    } catch (err) {
      log.warn({ err, account: account.id, peer: stanza.attrs.from }, 'stanza dropped');
    }
  };

  const restBecause = (error: unknown, isNews: boolean) => {
    const now = Date.now();
    if (error instanceof ProtocolError && error.source === 'conflict') track.conflicts.push(now);
    if (error instanceof ProtocolError) {
      resumption = null;
      isResumable = false;
    }
    rest = decideRest(error, track, Math.random(), now);
    const { state, info, afterMs } = rest;
    const fields = { account: account.id, jid: account.jid, reason: info, nextTryMs: afterMs };
    // Said once for each outage; the row tells the rest.
    log[isNews ? 'warn' : 'debug'](fields, `account ${state}`);
    track.failures += 1;
    tell(state, info, { afterMs });
    if (isResting(rest)) {
      closeRows();
      queue.resync();
    }
    if (afterMs !== null) retry = setTimeout(start, afterMs);
  };

  const onClose = (error: Error | null) => {
    if (!session) return;
    if (Date.now() - onlineSince > STABLE_MS) track.failures = 0;
    session = null;
    if (isClosed || error === null) return;
    if (rows) outbox.suspect(rows, error);
    restBecause(error, true);
  };

  const describePresence = (): string => {
    const { show, status, priority } = account;
    return priority === null ? '' : buildPresence({ show, status, priority });
  };

  const introduce = (opened: Session) => {
    introduction = describePresence();
    if (introduction) outbox.sendAside(opened, introduction);
  };

  const reintroduce = (opened: Session) => {
    try {
      introduce(opened);
    } catch (error) {
      session = null;
      farewell = Promise.all([farewell, opened.close()]);
      restBecause(error, true);
    }
  };

  const onOpen = async (opened: Session) => {
    if (!opened.isOpen()) throw new RetryError('the stream ended at once', 0);
    session = opened;
    onlineSince = Date.now();
    rest = null;
    const { fullJid, streamId, location, isResumed, via } = opened;
    if (rows) outbox.begin(rows, opened);
    reception = { uncommitted: 0 };
    if (!isResumed) {
      resumption = streamId ? { id: streamId, h: 0, location, fullJid } : null;
      if (resumption) await parts.upsertResumption(account.id, { ...resumption });
      else await parts.deleteResumption(account.id);
      isResumable = true;
    }
    if (session !== opened) return;
    opened.begin();
    if (!isResumed || introduction !== describePresence()) introduce(opened);
    tell('online', via, { fullJid });
    const fields = { account: account.id, jid: fullJid, via, resumed: isResumed };
    log.info(fields, 'account online');
    pump();
  };

  const connect = async (signal: AbortSignal) => {
    const { jid, resource, host, port, tls, ca } = account;
    ownJid = bareJid(jid);
    if (resource !== '') parseJid(`${ownJid}/${resource}`);
    const leave = await parts.enter(account.id, host || parseJid(jid).domain);
    try {
      const password = await readPassword(account.password);
      // Else the server would send again what is on its way to the table.
      while (reception.uncommitted > 0 && !signal.aborted) await delay(COMMIT_POLL_MS);
      if (isResumable) resumption ??= await parts.selectResumption(account.id);
      const wanted = `${ownJid}/${resource}`;
      const last = resumption?.fullJid ?? '';
      // Without a resource of ours the server has chosen one.
      if (resource === '' ? !last.startsWith(wanted) : last !== wanted) resumption = null;
      signal.throwIfAborted();
      tell('connecting', null);
      const options = { jid: ownJid, password, resource, host, port, tls, ca, resumption };
      const handlers = {
        onStanza: receiveSafely,
        onAcknowledged: (count: number) => {
          if (!rows) return;
          outbox.acknowledge(rows, count);
          pump();
        },
        onClose,
      };
      return await openSession({ ...options, ...parts.timing }, handlers, signal);
    } finally {
      leave();
    }
  };

  const start = () => {
    retry = null;
    if (isClosed) return;
    attempt = new AbortController();
    const { signal } = attempt;
    openRows();
    connect(signal)
      .then(onOpen)
      .catch((error: unknown) => {
        if (signal.aborted || isClosed) return;
        session?.drop(null);
        session = null;
        restBecause(error, track.failures === 0);
      });
  };

  const halt = () => {
    if (retry) clearTimeout(retry);
    retry = null;
    attempt.abort(new Error('no longer wanted'));
  };

  const restart = () => {
    halt();
    const old = session;
    session = null;
    rest = null;
    track.failures = 0;
    track.conflicts = [];
    resumption = null;
    isResumable = false;
    closeRows();
    const forgotten = parts
      .deleteResumption(account.id)
      .catch((err: unknown) => log.debug({ err, account: account.id }, 'stream not forgotten'));
    const goodbye = Promise.all([farewell, old?.close(), forgotten]);
    farewell = goodbye;
    goodbye
      // Changed again meanwhile, the last change starts it.
      .then(() => (farewell === goodbye ? start() : undefined))
      .catch((err: unknown) => log.error({ err, account: account.id }, 'account not restarted'));
  };

  start();
  return {
    get account() {
      return account;
    },
    restsBecause: () =>
      rest !== null && isResting(rest)
        ? `account ${account.jid} is ${rest.state}: ${rest.info}`
        : null,
    change(changed) {
      const old = account;
      account = changed;
      // Each sync tells of every account; one that rests must not try a refused password again for that.
      if (isDeepStrictEqual(old, changed)) return;
      if (needsReconnect(old, changed) || isResting(rest)) restart();
      else if (session && changed.priority === null && old.priority !== null) {
        outbox.sendAside(session, "<presence type='unavailable'/>");
      } else if (session && hasOtherPresence(old, changed)) reintroduce(session);
    },
    async close(timeoutMs) {
      isClosed = true;
      halt();
      await outbox.settled(timeoutMs);
      const old = session;
      session = null;
      closeRows();
      await Promise.all([farewell, old?.close()]);
      if (old) await parts.deleteResumption(account.id);
    },
    drop() {
      isClosed = true;
      halt();
      const old = session;
      session = null;
      closeRows();
      old?.drop(null);
    },
  };
};
