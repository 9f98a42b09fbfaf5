/**
 * One account's life: online while its row says so, trying again when it may help, resting when only a
 * person can help. Rows go out in order through it, and stanzas come in.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { DatabasePool } from 'slonik';
import type { QueueRow } from '../db/linkBuffer.ts';
import type { Queue, Link as QueueLink } from '../db/queue.ts';
import { errorText, ProtocolError, RetryError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Resumption } from '../xmpp/agreement.ts';
import { decideRest, isResting, type Rest } from '../xmpp/backoff.ts';
import { createRequester } from '../xmpp/requester.ts';
import { readSecret } from '../xmpp/secret.ts';
import { openSession, type Session, type SessionOptions } from '../xmpp/session.ts';
import { bareJid, parseJid } from '../xmpp/wire/jid.ts';
import type { Inbox } from './inbox.ts';
import { createOutbox, type Outbox } from './outbox.ts';
import type { Line, Part, PartKind } from './part.ts';
import { createReception } from './reception.ts';
import { createRepeat } from './repeat.ts';
import { formatStanzaId } from './stanzaId.ts';
import { buildPresence, type Outgoing } from './stanzas.ts';
import type { Account, AccountState } from './store.ts';

export type TxRow = QueueRow & Outgoing & { insertedAtS: number };

/** What a link needs of the gateway. */
export type LinkParts = {
  db: DatabasePool;
  queue: Queue<TxRow>;
  inbox: Inbox;
  kinds: readonly PartKind[];
  log: Log;
  /** Signs stanza ids. */
  secret(): string;
  /** Whether the daemon may still speak for its accounts. */
  isFresh(): boolean;
  /** Lets a login to a host begin in its turn; what it returns ends the turn. */
  enter(accountId: number, host: string): Promise<() => void>;
  /** The rows of accounts that are not online are to be told why. */
  resync(): void;
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
  /** Rows of that kind may not be as the network is. */
  sync(kind: PartKind): void;
  /** Says goodbye once all that was sent is acknowledged, or `timeoutMs` have passed. */
  close(timeoutMs: number): Promise<void>;
  /** Drops the connection without a word. */
  drop(): void;
};

const STABLE_MS = 60_000;
const COMMIT_POLL_MS = 10;
const CONFLICT_MS = 30_000;

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
  a.priority !== b.priority ||
  a.show !== b.show ||
  a.status !== b.status ||
  !isDeepStrictEqual(a.notifyNodes, b.notifyNodes);

type Branch = { kind: PartKind; part: Part; ask(): void };

export const createLink = (first: Account, parts: LinkParts): Link => {
  const { queue, log, report } = parts;
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
  let isIntroduced = false;
  const track = { failures: 0, conflicts: [] as number[], conflictMs: CONFLICT_MS };

  const outbox: Outbox = createOutbox({
    describe: (row) => {
      const id = formatStanzaId(parts.secret(), { id: row.id, insertedAtS: row.insertedAtS });
      return { id, maxBytes: account.maxStanzaBytes };
    },
    admit(row, to, type) {
      for (const part of admitters) part.admit?.(row, to, type);
    },
    isHolding: () => account.onUncertain === 'hold',
    isFresh: () => parts.isFresh(),
    proceed: () => pump(),
    log: log.child({ account: first.id }),
  });
  let rows: QueueLink<TxRow> | null = null;
  let branches: Branch[] = [];
  /** The parts of the branches, and those that rows have to pass: for the hot paths. */
  let members: Part[] = [];
  let admitters: Part[] = [];

  const canSend = (): boolean => !isClosed && session?.isOpen() === true && parts.isFresh();
  const pump = () => {
    if (!rows || !session || !canSend()) return;
    if (members.some((part) => part.holdsRows?.() === true)) return;
    outbox.pump(rows, session);
  };
  const sendAside = (stanza: string, onHandled?: () => void): boolean => {
    if (!session || !canSend()) return false;
    outbox.sendAside(session, stanza, onHandled);
    return true;
  };
  const requester = createRequester({ send: sendAside, ownJid: () => ownJid });
  const reception = createReception({
    inbox: parts.inbox,
    log,
    secret: () => parts.secret(),
    account: () => account,
    ownJid: () => ownJid,
    session: () => session,
    parts: () => members,
    requester,
    onCommitted(count) {
      if (resumption) resumption.h = count;
    },
    sendReceipt: (receiver, receipt) => outbox.sendAside(receiver, receipt),
    onFailed(failed) {
      if (rows) outbox.dismiss(rows, failed.id, failed.from);
    },
  });
  const openRows = () => {
    rows ??= queue.openLink(account.id, pump);
  };
  const closeRows = () => {
    if (rows) outbox.giveBack(rows);
    rows?.close();
    rows = null;
    for (const part of members) part.rest?.();
  };

  const tell = (
    state: AccountState['state'],
    info: string | null,
    more: Partial<AccountState> = {},
  ) => report({ accountId: account.id, state, info, afterMs: null, fullJid: null, ...more });

  /** The stream is gone. */
  const leave = () => {
    isIntroduced = false;
    for (const part of members) part.offline?.();
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
      parts.resync();
    }
    if (afterMs !== null) retry = setTimeout(start, afterMs);
  };

  const onClose = (error: Error | null) => {
    if (!session) return;
    if (Date.now() - onlineSince > STABLE_MS) track.failures = 0;
    session = null;
    if (isClosed || error === null) return;
    leave();
    if (rows) outbox.suspect(rows, error);
    restBecause(error, true);
  };

  const describePresence = (): string => {
    const { show, status, priority } = account;
    if (priority === null) return '';
    const more = members.map((part) => part.presence?.() ?? '').join('');
    return buildPresence({ show, status, priority }, more);
  };

  const introduce = (opened: Session) => {
    introduction = describePresence();
    if (introduction) outbox.sendAside(opened, introduction);
  };

  const tellReintroduced = () => {
    for (const { part, ask } of branches) {
      part.reintroduced?.();
      ask();
    }
  };

  const reintroduce = (opened: Session) => {
    try {
      introduce(opened);
      tellReintroduced();
    } catch (error) {
      session = null;
      leave();
      farewell = Promise.all([farewell, opened.close()]);
      restBecause(error, true);
    }
  };

  /** What does not work leaves its part behind, not the account. */
  const beginParts = async () => {
    for (const part of members) {
      await part.begin?.().catch((error: unknown) => {
        log.warn({ account: account.id, reason: errorText(error) }, 'part not begun');
      });
    }
  };

  const onOpen = async (opened: Session) => {
    if (!opened.isOpen()) throw new RetryError('the stream ended at once', 0);
    session = opened;
    onlineSince = Date.now();
    rest = null;
    const { fullJid, streamId, location, isResumed, via } = opened;
    if (rows) outbox.begin(rows, opened);
    reception.renew();
    if (!isResumed) {
      resumption = streamId ? { id: streamId, h: 0, location, fullJid } : null;
      if (resumption) await parts.upsertResumption(account.id, { ...resumption });
      else await parts.deleteResumption(account.id);
      isResumable = true;
    }
    if (isResumed) for (const part of members) await part.resume?.();
    if (session !== opened) return;
    if (!isResumed) requester.fail(new RetryError('the stream was lost', 0));
    opened.begin();
    pump();
    if (!isResumed) await beginParts();
    if (session !== opened) return;
    if (!isResumed || introduction !== describePresence()) introduce(opened);
    isIntroduced = true;
    tell('online', via, { fullJid });
    const fields = { account: account.id, jid: fullJid, via, resumed: isResumed };
    log.info(fields, 'account online');
    for (const branch of branches) {
      branch.part.online?.(isResumed);
      branch.ask();
    }
    pump();
  };

  const connect = async (signal: AbortSignal) => {
    const { jid, resource, host, port, tls, ca } = account;
    ownJid = bareJid(jid);
    if (resource !== '') parseJid(`${ownJid}/${resource}`);
    const leave = await parts.enter(account.id, host || parseJid(jid).domain);
    try {
      const password = await readSecret(account.password, 'acc_pass');
      // Else the server would send again what is on its way to the table.
      while (reception.uncommitted() > 0 && !signal.aborted) await delay(COMMIT_POLL_MS);
      if (isResumable) resumption ??= await parts.selectResumption(account.id);
      const wanted = `${ownJid}/${resource}`;
      const last = resumption?.fullJid ?? '';
      // Without a resource of ours the server has chosen one.
      if (resource === '' ? !last.startsWith(wanted) : last !== wanted) resumption = null;
      signal.throwIfAborted();
      tell('connecting', null);
      const options = { jid: ownJid, password, resource, host, port, tls, ca, resumption };
      const handlers = {
        onStanza: reception.receive,
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
    leave();
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

  const end = () => {
    leave();
    for (const part of members) part.close?.();
    requester.fail(new RetryError('the account was closed', 0));
    closeRows();
  };

  const line: Omit<Line, 'resync'> = {
    accountId: first.id,
    account: () => account,
    ownJid: () => ownJid,
    fullJid: () => (isIntroduced ? (session?.fullJid ?? null) : null),
    db: parts.db,
    log: log.child({ account: first.id }),
    secret: () => parts.secret(),
    features: () => [...new Set(members.flatMap(({ features }) => features ?? []))],
    refreshPresence() {
      if (session && isIntroduced && introduction !== describePresence()) reintroduce(session);
    },
    send: sendAside,
    request: (question) => requester.ask(question),
    store: reception.store,
    distrust: reception.distrust,
    replay: (stanza) => reception.receive(stanza, null),
    readRowId: reception.readRowId,
    hasten: (isMatch) => rows?.hasten(isMatch),
    reflect(stanzaId) {
      if (rows) outbox.reflect(rows, stanzaId);
      pump();
    },
    abandon(roomJid) {
      if (rows) outbox.abandon(rows, roomJid);
      pump();
    },
    dismiss: (rowIds) => outbox.skip(rowIds),
    proceed: pump,
  };
  branches = parts.kinds.map((kind) => {
    const work = async () => {
      if (isIntroduced) await part.sync?.();
    };
    const repeat = createRepeat(work, log);
    const part = kind.create({ ...line, resync: repeat.ask });
    return { kind, part, ...repeat };
  });

  members = branches.map(({ part }) => part);
  admitters = members.filter(({ admit }) => admit !== undefined);

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
        introduction = '';
        tellReintroduced();
      } else if (session && hasOtherPresence(old, changed)) reintroduce(session);
    },
    sync(kind) {
      for (const branch of branches) if (branch.kind === kind) branch.ask();
    },
    async close(timeoutMs) {
      isClosed = true;
      halt();
      await outbox.settled(timeoutMs);
      const old = session;
      session = null;
      end();
      await Promise.all([farewell, old?.close()]);
      if (old) await parts.deleteResumption(account.id);
    },
    drop() {
      isClosed = true;
      halt();
      const old = session;
      session = null;
      end();
      old?.drop(null);
    },
  };
};
