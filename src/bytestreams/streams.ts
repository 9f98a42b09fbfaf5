/** The streams of this daemon: activated at the listeners, held to what users are due, written by the ledger. */
import { randomUUID } from 'node:crypto';
import type { DatabasePool } from 'slonik';
import { errorText } from '../errors.ts';
import type { Log } from '../log.ts';
import { formatJid, parseJid } from '../xmpp/wire/jid.ts';
import { type LimitsRow, startOfPeriod } from './access.ts';
import { chooseVerdict, requireActivated, requireRoom } from './activation.ts';
import { createAllowances } from './allowances.ts';
import { createLedger } from './ledger.ts';
import { createListeners, type Listeners } from './listeners.ts';
import type { Counters, EndReason, StreamLimits, Verdict } from './relay/messages.ts';
import type { RelayThread } from './relay/thread.ts';
import type { BytestreamsRequest } from './stanzas.ts';
import { type StreamRecord, selectUsedBytes, selectWanted } from './store.ts';
import { streamHashes } from './wire/streamHash.ts';

export type Streams = {
  listeners: Listeners;
  /** @throws RejectError for what is not granted */
  activate(
    proxy: string,
    request: BytestreamsRequest & { type: 'activate' },
    limits: LimitsRow | null,
  ): Promise<void>;
  /** Ends those whose rows are gone, and holds the others to the rates of their rows. */
  match(): Promise<void>;
  /** Ends those of a proxy that is given up, and writes them. */
  release(proxy: string): Promise<void>;
  /** Of this run: rows of another one are left over. */
  instance: string;
  close(): Promise<void>;
};

const RELEASE_MS = 1_000;

export const createStreams = (db: DatabasePool, log: Log): Streams => {
  const instance = randomUUID();
  const ledger = createLedger(db, log);
  const allowances = createAllowances();
  const threads = new Map<string, RelayThread>();
  let onIdle = () => {};

  const userOf = ({ proxy, jid }: { proxy: string; jid: string }) => `${proxy} ${jid}`;

  const leave = (user: string, proxy: string) => {
    if (!allowances.leave(user)) return;
    for (const thread of listeners.threadsOf(proxy)) {
      thread.send({ type: 'budget', key: user, bytes: null });
    }
  };

  /** What one listener has relayed is not left for the others. */
  const spend = (thread: RelayThread, id: string, bytes: number) => {
    const record = ledger.find(id);
    if (!record || bytes === 0) return;
    for (const other of listeners.threadsOf(record.proxy)) {
      if (other !== thread) other.send({ type: 'spend', key: userOf(record), bytes });
    }
  };

  const renewQuotas = () => {
    for (const { user, bytes } of allowances.renew(new Date())) {
      const [proxy = ''] = user.split(' ');
      for (const thread of listeners.threadsOf(proxy)) {
        thread.send({ type: 'budget', key: user, bytes });
      }
    }
  };

  const onCounters = (thread: RelayThread, counters: Counters[]) => {
    for (const one of counters) spend(thread, one.id, ledger.count(one));
    renewQuotas();
  };

  const end = (thread: RelayThread, counters: Counters, reason: EndReason) => {
    const record = ledger.find(counters.id);
    threads.delete(counters.id);
    if (!record) return;
    spend(thread, counters.id, ledger.end(counters, reason));
    leave(userOf(record), record.proxy);
    const { id, requester, target, bytes_up: up, bytes_down: down } = record;
    log.info({ stream: id, requester, target, up, down, reason }, 'stream ended');
    if (threads.size === 0) onIdle();
  };

  /** What is known of the streams of a lost thread is all that there is. */
  const onLost = (thread: RelayThread) => {
    for (const record of ledger.active()) {
      if (threads.get(record.id) !== thread) continue;
      const { id, bytes_up: up, bytes_down: down, last_byte_at } = record;
      end(thread, { id, up, down, lastByteAtMs: Date.parse(last_byte_at) }, 'crash');
    }
  };

  const isBusy = (thread: RelayThread) => [...threads.values()].includes(thread);
  const listeners = createListeners(db, log, { onCounters, onEnded: end, onLost, isBusy });

  /** With the database away, what is not written yet is all that is known. */
  const readUsedBytes = async (proxy: string, jid: string, since: Date): Promise<number> => {
    const written = await selectUsedBytes(db, { proxy, jid, since }).catch((error: unknown) => {
      log.warn({ reason: errorText(error) }, 'usage not read; the quota begins anew');
      return 0;
    });
    return written + ledger.unwrittenBytes(proxy, jid);
  };

  /** @returns the budgets of the stream */
  const openQuota = async (proxy: string, jid: string, limits: LimitsRow | null) => {
    const { quotaBytes = null, quotaPeriod = null } = limits ?? {};
    if (quotaBytes === null || quotaPeriod === null) return [];
    const now = new Date();
    const usedBytes = await readUsedBytes(proxy, jid, startOfPeriod(quotaPeriod, now));
    requireRoom(limits, { streams: 0, usedBytes });
    const user = userOf({ proxy, jid });
    const left = allowances.open(user, { bytes: quotaBytes, period: quotaPeriod, usedBytes }, now);
    if (left !== null) {
      for (const thread of listeners.threadsOf(proxy)) {
        thread.send({ type: 'budget', key: user, bytes: left });
      }
    }
    return [user];
  };

  /** Asks one listener after the other: both ends are at the same one. */
  const ask = async (proxy: string, id: string, hashes: string[], limits: StreamLimits) => {
    const verdicts: Verdict[] = [];
    for (const thread of listeners.threadsOf(proxy)) {
      const verdict = await thread.activate({ id, hashes, limits });
      if (verdict.type === 'activated') threads.set(id, thread);
      if (verdict.type === 'activated') return verdict;
      verdicts.push(verdict);
    }
    return requireActivated(chooseVerdict(verdicts));
  };

  return {
    instance,
    listeners,
    async activate(proxy, { sid, requester, target }, row) {
      const from = parseJid(requester.normalised);
      const jid = formatJid({ ...from, resource: null });
      const user = userOf({ proxy, jid });
      allowances.enter(user, row);
      try {
        const limits: StreamLimits = {
          bytesPerSecond: row?.rateLimit ?? null,
          maxBytes: row?.maxBytes ?? null,
          maxMs: row?.maxTimeS == null ? null : row.maxTimeS * 1_000,
          budgets: await openQuota(proxy, jid, row),
        };
        const id = randomUUID();
        const verdict = await ask(proxy, id, streamHashes(sid, requester, target), limits);
        const at = new Date().toISOString();
        const record: StreamRecord = {
          id,
          proxy,
          instance,
          sid,
          hash: verdict.hash,
          requester: requester.normalised,
          target: target.normalised,
          requester_address: verdict.requester,
          target_address: verdict.target,
          rate_limit: limits.bytesPerSecond,
          bytes_up: 0,
          bytes_down: 0,
          activated_at: at,
          last_byte_at: at,
          ended_at: null,
          reason: null,
          jid,
          domain: from.domain,
        };
        ledger.open(record);
        log.info(
          { stream: id, requester: record.requester, target: record.target },
          'stream active',
        );
      } catch (error) {
        leave(user, proxy);
        throw error;
      }
    },
    async match() {
      // Only those that were written before are missed.
      const ids = ledger.written();
      if (ids.length === 0) return;
      const wanted = new Map(
        (await selectWanted(db, instance)).map(({ id, rateLimit }) => [id, rateLimit]),
      );
      for (const id of ids) {
        const rate = wanted.get(id);
        if (rate === undefined) threads.get(id)?.send({ type: 'kill', id, reason: 'killed' });
        else if (rate !== ledger.find(id)?.rate_limit) {
          ledger.setRate(id, rate);
          threads.get(id)?.send({ type: 'rate', id, bytesPerSecond: rate });
        }
      }
    },
    async release(proxy) {
      for (const { id } of [...ledger.active()].filter((record) => record.proxy === proxy)) {
        threads.get(id)?.send({ type: 'kill', id, reason: 'shutdown' });
      }
      const idle = new Promise<void>((done) => {
        onIdle = done;
        setTimeout(done, RELEASE_MS).unref();
      });
      if (threads.size > 0) await idle;
      await ledger.flush();
    },
    async close() {
      await listeners.close();
      await ledger.close();
    },
  };
};
