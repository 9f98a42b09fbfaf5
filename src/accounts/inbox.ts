/**
 * Received messages on their way to their rows, those of all accounts together: a batch is one
 * transaction with the reports it brings and the counts of the streams, which are acknowledged after.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, DatabaseError } from 'pg';
import { connect, type DatabaseAddress, isDatabaseFault } from '../db/connect.ts';
import { shardOf } from '../db/ownership.ts';
import type { Log } from '../log.ts';
import { updateCursors } from './archive/store.ts';
import {
  addSpoofed,
  insertReceived,
  selectOwned,
  selectProgress,
  selectReported,
  updateProgress,
  updateReported,
} from './received/store.ts';
import { type ClaimedReport, judgeReports } from './reports.ts';
import type { Archived, Incoming } from './stanzas.ts';

/** One stanza's part in a batch. */
export type Letter = {
  accountId: number;
  ownJid: string;
  incoming: Incoming | null;
  report: ClaimedReport | null;
  /** How far the own archive is read with it. */
  archived: Archived | null;
  /** What else it changes; run once more when nobody could say whether it was committed. */
  write: ((client: Client) => Promise<void>) | null;
  /** Its number on the stream, and the stream; null where there is no stream management. */
  progress: { streamId: string; h: number } | null;
  /** Called when the letter is in the database for good. */
  onCommitted(): void;
};

export type Inbox = {
  /** Called in the order of arrival. */
  put(letter: Letter): void;
  flushed(timeoutMs: number): Promise<void>;
  /** Forgets what is not committed: the servers will send it again. */
  clear(): void;
  close(): Promise<void>;
};

const BATCH = 100;
const BATCH_MS = 5;
const RETRY_MS = 250;

/** The last count of each stream in the batch. */
const readProgress = (letters: Letter[]) => {
  const last = new Map<number, { accountId: number; streamId: string; h: number }>();
  for (const { accountId, progress } of letters) {
    if (progress) last.set(accountId, { accountId, ...progress });
  }
  return [...last.values()];
};

/** How far each account's own archive is read with the batch. */
const readCursors = (letters: Letter[]) => {
  const last = new Map<number, Archived & { accountId: number; jid: string }>();
  for (const { accountId, ownJid: jid, archived } of letters) {
    if (archived) last.set(accountId, { accountId, jid, ...archived });
  }
  return [...last.values()];
};

/** How long letters of an account wait that the database did not take. */
const STALL_MS = 5_000;

/** A data exception, a broken constraint or a program limit: trying again would not help. */
const isRefusal = ({ code }: DatabaseError): boolean => /^(22|23|54)/.test(code ?? '');

type Parts = { address: DatabaseAddress; epochs(): ReadonlyMap<number, number>; log: Log };

export const createInbox = ({ address, epochs, log }: Parts): Inbox => {
  let letters: Letter[] = [];
  /** Accounts whose next letter the database does not take, such as by a trigger of its users. */
  const stalledUntil = new Map<number, number>();
  let isClosed = false;
  let arrived = Promise.withResolvers<void>();
  let emptied = Promise.withResolvers<void>();

  const writeReports = async (client: Client, batch: Letter[]): Promise<void> => {
    const reports = batch.flatMap(({ report }) => report ?? []);
    if (reports.length === 0) return;
    const rows = await selectReported(
      client,
      reports.map(({ key }) => key),
    );
    const { findings, spoofed } = judgeReports(reports, rows);
    if (spoofed.length > 0) {
      const fields = { accounts: [...new Set(spoofed)], count: spoofed.length };
      log.warn(fields, 'receipts or errors from others than the recipient');
      await addSpoofed(client, spoofed);
    }
    if (findings.length > 0) await updateReported(client, findings);
  };

  const writeRows = async (client: Client, batch: Letter[]): Promise<void> => {
    const messages = batch.flatMap(({ incoming, accountId, ownJid }) =>
      incoming ? { ...incoming, accountId, ownJid } : [],
    );
    if (messages.length > 0) await insertReceived(client, messages);
  };

  const epochsOf = (batch: Letter[]): Map<number, number> => {
    const held = epochs();
    const shards = new Set(batch.map(({ accountId }) => shardOf(accountId)));
    return new Map([...shards].flatMap((shard) => [[shard, held.get(shard) ?? -1]]));
  };

  const write = async (client: Client, batch: Letter[]): Promise<void> => {
    await client.query('begin');
    const owned = await selectOwned(client, epochsOf(batch));
    // Another daemon holds the others' accounts now, and gets the same stanzas.
    const own = batch.filter(({ accountId }) => owned.has(shardOf(accountId)));
    await writeRows(client, own);
    await writeReports(client, own);
    for (const letter of own) await letter.write?.(client);
    const cursors = readCursors(own);
    if (cursors.length > 0) await updateCursors(client, cursors);
    const progress = readProgress(own);
    if (progress.length > 0) await updateProgress(client, progress);
    await client.query('commit');
    if (stalledUntil.size > 0) for (const { accountId } of batch) stalledUntil.delete(accountId);
    const committed = new Set(batch);
    letters = letters.filter((letter) => !committed.has(letter));
    for (const letter of own) letter.onCommitted();
  };

  /** After an interruption: what did get committed, though nobody could say so. */
  const dropCommitted = async (client: Client): Promise<void> => {
    const progress = await selectProgress(client, [...new Set(letters.map((l) => l.accountId))]);
    const isKnown = ({ accountId, progress: own }: Letter) =>
      progress.some(
        (known) =>
          known.accountId === accountId && known.streamId === own?.streamId && own.h <= known.h,
      );
    for (const letter of letters.filter(isKnown)) letter.onCommitted();
    letters = letters.filter((letter) => !isKnown(letter));
  };

  const isStalled = ({ accountId }: Letter): boolean =>
    (stalledUntil.get(accountId) ?? 0) > Date.now();

  /** What is wrong with the letter is dropped; what is wrong with the database is waited for. */
  const giveUp = (letter: Letter, err: DatabaseError): void => {
    const fields = { err, account: letter.accountId, peer: letter.incoming?.from };
    if (isRefusal(err)) {
      log.error(fields, 'message refused by the database');
      letters = letters.filter((other) => other !== letter);
      letter.onCommitted();
    } else {
      log.error(fields, 'message not stored, the account receives nothing until it is');
      stalledUntil.set(letter.accountId, Date.now() + STALL_MS);
    }
  };

  /** Writes a batch; a letter that the database does not take stops no other account. */
  const writeSafely = async (client: Client, batch: Letter[]): Promise<void> => {
    try {
      await write(client, batch);
    } catch (err) {
      if (!isDatabaseFault(err)) throw err;
      await client.query('rollback');
      const [letter, ...others] = batch;
      if (others.length > 0) {
        for (const single of batch) if (!isStalled(single)) await writeSafely(client, [single]);
      } else if (letter) giveUp(letter, err);
    }
  };

  const live = async (client: Client): Promise<void> => {
    if (letters.length > 0) await dropCommitted(client);
    while (!isClosed) {
      if (letters.length === 0) {
        emptied.resolve();
        emptied = Promise.withResolvers<void>();
        arrived = Promise.withResolvers<void>();
        await arrived.promise;
        if (letters.length < BATCH) await delay(BATCH_MS);
      }
      const ready = stalledUntil.size === 0 ? letters : letters.filter((each) => !isStalled(each));
      const batch = ready.slice(0, BATCH);
      if (batch.length > 0) await writeSafely(client, batch);
      else if (letters.length > 0) await delay(RETRY_MS);
    }
  };

  const run = async (): Promise<void> => {
    while (!isClosed) {
      let client: Client | null = null;
      try {
        client = await connect(address, 'inbox', { queryTimeoutMs: 20_000 });
        // A daemon that is stopped within a transaction must not keep its shards from others.
        await client.query(`set idle_in_transaction_session_timeout = '5s'`);
        await live(client);
      } catch (err) {
        log.debug({ err }, 'inbox interrupted');
        await delay(RETRY_MS);
      } finally {
        await client?.end().catch(() => {});
      }
    }
  };
  const running = run();

  return {
    put(letter) {
      letters.push(letter);
      arrived.resolve();
    },
    async flushed(timeoutMs) {
      if (letters.length > 0) await Promise.race([emptied.promise, delay(timeoutMs)]);
    },
    clear() {
      letters = [];
    },
    async close() {
      isClosed = true;
      arrived.resolve();
      await running;
    },
  };
};
