/**
 * What a producer pays for the queue: single-row transactions into our table, into the same table
 * without its trigger, and into one that notifies.
 *
 * All three are whole databases of ours with the same reader awake, fetching and settling what comes,
 * so they differ in the trigger alone. The reader is rung from outside all along: without a trigger
 * nothing else would wake it, and where there is one it makes no difference.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { connect, type DatabaseAddress } from '../src/db/connect.ts';
import { LINK_ID, rowgram } from './engines/rowgram.ts';
import { atLeast, compared, type Figure } from './figure.ts';
import { awaitEmpty, type Bench, type Lab, openBench, tidy } from './lab.ts';
import { createWriters, type Writers } from './pgbench.ts';

const RING_MS = 25;

const PLAIN = `
  drop trigger xmpp_tx_queue_ring on xmpp_tx_queue_hot;
  drop trigger xmpp_tx_queue_keep_idempotency_key on xmpp_tx_queue_hot`;

const NOTIFYING = `
  ${PLAIN};
  create function notify_insert() returns trigger language plpgsql as $$
  begin
    notify xmpp_tx_queue, '${LINK_ID}';
    return null;
  end
  $$;
  create trigger xmpp_tx_queue_notify_insert after insert on xmpp_tx_queue
    for each statement execute function notify_insert()`;

const INSERT = (value: string) => `insert into xmpp_tx_queue (account_id, message_to, message_body)
  values (${LINK_ID}, 'bob@localhost', ${value})`;

/** Our tables, changed. */
const installWith = (change: string) => async (address: DatabaseAddress) => {
  await rowgram.install(address);
  const client = await connect(address, 'bench');
  await client.query(change);
  await client.end();
};

const measureInserts = async (
  bench: Bench,
  write: Writers,
  writers: number,
  seconds: number,
): Promise<number> => {
  const { address, client, child } = bench;
  await tidy(bench);
  await child.consume('throughput');
  const stopping = new AbortController();
  const ring = async () => {
    while (!stopping.signal.aborted) {
      await client.query(`select pg_notify('xmpp_tx_queue', '${LINK_ID}')`);
      await delay(RING_MS);
    }
  };
  const ringing = ring();
  const rate = await write(address, writers, seconds);
  await awaitEmpty(bench);
  stopping.abort();
  await ringing;
  await child.stop();
  return rate;
};

export const inserts = async (lab: Lab): Promise<Figure[]> => {
  const isQuick = lab.scale === 'quick';
  const write = await createWriters(lab.dir, INSERT, lab.say);
  const benches = {
    ours: await openBench(lab, rowgram),
    plain: await openBench(lab, rowgram, installWith(PLAIN)),
    notifying: await openBench(lab, rowgram, installWith(NOTIFYING)),
  };
  const figures: Figure[] = [];
  for (const { writers, amount } of [
    { writers: 8, amount: 0.85 },
    { writers: 32, amount: 0.75 },
  ]) {
    const rates = { ours: [] as number[], plain: [] as number[], notifying: [] as number[] };
    for (let round = 0; round < (isQuick ? 1 : 7); round += 1) {
      for (const name of ['ours', 'plain', 'notifying'] as const) {
        const rate = await measureInserts(benches[name], write, writers, isQuick ? 1 : 2);
        lab.say(`inserts, ${writers} writers, ${name}: ${Math.round(rate)} rows/s`);
        rates[name].push(rate);
      }
    }
    const { ours, plain, notifying } = rates;
    const name = `inserts, ${writers} writers`;
    const wanted = atLeast('ratio', amount);
    figures.push(
      compared(name, 'rows/s', 'no trigger', { ours, baseline: plain }, wanted),
      compared(name, 'rows/s', 'notifying', { ours, baseline: notifying }, atLeast('ratio', 2.5)),
    );
  }
  return figures;
};
