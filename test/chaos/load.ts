/** The traffic while all goes wrong: transactions that insert rows, far ends that receive and send. */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { connect } from '../../src/db/connect.ts';
import { connectRaw, type RawClient } from '../peers/rawClient.ts';
import { createSink, type Sink } from '../peers/sink.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import { createRandom, type Random } from './random.ts';
import type { ChaosAccount, World } from './world.ts';

/** What its writer knows of a row: the database alone knows whether an interrupted commit took place. */
export type Row = { fate: 'committed' | 'rolled back' | 'unknown'; at: number };

/** What the sender knows of a message: a server that went down may or may not have taken it. */
export type Sent = { fate: 'acknowledged' | 'unknown' | 'bounced'; at: number };

export type Load = {
  /** By body, `stream:number`; each stream has one writer, which waits for one commit before the next. */
  rows: Map<string, Row>;
  sent: Map<string, Sent>;
  /** By recipient. */
  sinks: Map<string, Sink>;
  /** Inserts a row to the first recipient, and sends a message back. @returns their bodies */
  probe(account: ChaosAccount): Promise<{ rowBody: string; sentBody: string }>;
  /** No more is inserted or sent. */
  quiet(): Promise<void>;
  stop(): Promise<void>;
};

const RETRY_MS = 50;
const ABORTED = 0.15;
const BATCH_ROWS = 5;
const CHUNK = 4;

type Writer = { name: string; accountId: number | null };

const INSERT = `insert into xmpp_tx_queue (account_id, message_to, message_body) values ($1, $2, $3)`;

/** One connection after the other, as they break. */
const createWriterConnection = (world: World) => {
  let client: pg.Client | null = null;
  return {
    async get(): Promise<pg.Client> {
      client ??= await connect(world.address, 'chaos', { queryTimeoutMs: 10_000 });
      return client;
    },
    async drop(): Promise<void> {
      const old = client;
      client = null;
      await old?.end().catch(() => {});
    },
  };
};

/** What became of a transaction, and of its connection. */
type Written = { fate: Row['fate']; connection: 'fit' | 'broken' };

/** Writes one transaction. */
const writeBatch = async (
  client: pg.Client,
  accountId: number | null,
  batch: { to: string; body: string }[],
  heldMs: number,
  ending: 'commit' | 'rollback',
): Promise<Written> => {
  let isCommitting = false;
  try {
    await client.query('begin');
    for (const { to, body } of batch) await client.query(INSERT, [accountId, to, body]);
    // Others commit meanwhile, so that ids become visible out of their order.
    await delay(heldMs);
    isCommitting = ending === 'commit';
    await client.query(ending);
    return { fate: isCommitting ? 'committed' : 'rolled back', connection: 'fit' };
  } catch {
    return { fate: isCommitting ? 'unknown' : 'rolled back', connection: 'broken' };
  }
};

const write = async (
  world: World,
  { name, accountId }: Writer,
  random: Random,
  rows: Load['rows'],
  signal: AbortSignal,
): Promise<void> => {
  const connection = createWriterConnection(world);
  for (let number = 0; !signal.aborted; await delay(random.between(20, 200))) {
    const batch = Array.from({ length: random.between(1, BATCH_ROWS) }, () => {
      number += 1;
      const place = number % world.recipients.length;
      return { to: world.recipients[place] ?? '', body: `${name}r${place}:${number}` };
    });
    const ending = random.next() < ABORTED ? 'rollback' : 'commit';
    const heldMs = random.between(0, 60);
    const client = await connection.get().catch(() => null);
    if (client === null) continue;
    const written = await writeBatch(client, accountId, batch, heldMs, ending);
    const at = Date.now();
    for (const { body } of batch) rows.set(body, { fate: written.fate, at });
    if (written.connection === 'broken') await connection.drop();
  }
  await connection.drop();
};

/** Tells that a message was received (XEP-0184), as most clients do. */
const answerReceipts = (client: RawClient) => (stanza: Stanza) => {
  const { element } = stanza;
  const isAsked = element.find('request', 'urn:xmpp:receipts') !== null;
  if (!isAsked || !element.attrs.from || !element.attrs.id) return;
  client.send(
    `<message to='${element.attrs.from}'><received xmlns='urn:xmpp:receipts' id='${element.attrs.id}'/></message>`,
  );
};

/** Takes what has arrived out of the client's memory; the sink has noted it. */
const forget = async (client: RawClient): Promise<void> => {
  for (;;) {
    await client.next(() => true, 3_600_000);
    client.stanzas.splice(0);
  }
};

const connectFarEnd = (world: World, jid: string): Promise<RawClient> =>
  connectRaw({
    host: world.prosody.host,
    port: world.prosody.port,
    jid,
    password: world.password,
    resource: 'far',
  });

/** Connects anew until told to stop. */
const keepConnected = async (
  world: World,
  jid: string,
  use: (client: RawClient) => Promise<void>,
  signal: AbortSignal,
): Promise<void> => {
  while (!signal.aborted) {
    const client = await connectFarEnd(world, jid).catch(() => null);
    if (client === null) {
      await delay(RETRY_MS);
      continue;
    }
    const end = () => client.destroy();
    signal.addEventListener('abort', end);
    await use(client).catch(() => {});
    signal.removeEventListener('abort', end);
    client.destroy();
  }
};

const receive = async (world: World, jid: string, signal: AbortSignal) => {
  const started = Promise.withResolvers<Sink>();
  let sink: Sink | null = null;
  const use = async (client: RawClient) => {
    if (sink) sink.attach(client);
    else sink = createSink(client);
    if (jid === world.recipients[0]) client.onStanza(answerReceipts(client));
    started.resolve(sink);
    await forget(client);
  };
  const ended = keepConnected(world, jid, use, signal);
  return { sink: await started.promise, ended };
};

/** Sends to the accounts in turn, and asks after each few whether the server has taken them. */
const createSender = (world: World, sent: Load['sent'], signal: AbortSignal) => {
  const numbers = new Map<string, number>();
  const extra: ChaosAccount[] = [];
  let waiting: ((body: string) => void)[] = [];

  const sendOne = (client: RawClient, account: ChaosAccount): string => {
    const stream = `s${account.id}`;
    const number = (numbers.get(stream) ?? 0) + 1;
    numbers.set(stream, number);
    const body = `${stream}:${number}`;
    sent.set(body, { fate: 'unknown', at: Date.now() });
    client.send(
      `<message to='${account.jid}' type='chat' id='${body}'><body>${body}</body></message>`,
    );
    return body;
  };
  const noteBounce = ({ element }: Stanza) => {
    const message = sent.get(element.attrs.id ?? '');
    if (element.name === 'message' && element.attrs.type === 'error' && message) {
      message.fate = 'bounced';
    }
  };
  const sendChunk = async (client: RawClient, count: number): Promise<void> => {
    const probed = extra.splice(0);
    const told = waiting;
    waiting = [];
    const usual = world.accounts.flatMap((account) => Array<ChaosAccount>(CHUNK).fill(account));
    const bodies = usual.map((account) => sendOne(client, account));
    for (const [index, account] of probed.entries()) {
      const body = sendOne(client, account);
      told[index]?.(body);
      bodies.push(body);
    }
    await client.iq(
      `<iq type='get' id='ping${count}' to='${world.prosody.domain}'><ping xmlns='urn:xmpp:ping'/></iq>`,
    );
    for (const body of bodies) {
      const message = sent.get(body);
      if (message?.fate === 'unknown') message.fate = 'acknowledged';
    }
    client.stanzas.splice(0);
  };
  const ended = keepConnected(
    world,
    world.sender,
    async (client) => {
      client.onStanza(noteBounce);
      for (let count = 0; !signal.aborted; count += 1) {
        await sendChunk(client, count);
        await delay(150);
      }
    },
    signal,
  );
  return {
    ended,
    probe: (account: ChaosAccount): Promise<string> =>
      new Promise((told) => {
        extra.push(account);
        waiting.push(told);
      }),
  };
};

export const startLoad = async (world: World, seed: number): Promise<Load> => {
  const random = createRandom(seed);
  const rows: Load['rows'] = new Map();
  const sent: Load['sent'] = new Map();
  const sending = new AbortController();
  const receiving = new AbortController();
  const sinks = new Map<string, Sink>();
  const ends: Promise<void>[] = [];
  for (const jid of world.recipients) {
    const { sink, ended } = await receive(world, jid, receiving.signal);
    sinks.set(jid, sink);
    ends.push(ended);
  }
  const writers: Writer[] = world.accounts.flatMap(({ id: accountId }) => [
    { name: `a${accountId}x`, accountId },
    { name: `a${accountId}y`, accountId },
  ]);
  // Rows that name no account go to the default one.
  writers.push({ name: 'd', accountId: null });
  const writing = writers.map((writer) =>
    write(world, writer, createRandom(random.between(1, 2 ** 31)), rows, sending.signal),
  );
  const sender = createSender(world, sent, sending.signal);
  let probes = 0;

  const insertProbe = async (account: ChaosAccount): Promise<string> => {
    for (;;) {
      probes += 1;
      const body = `p${account.id}:${probes}`;
      const client = await connect(world.address, 'chaos').catch(() => null);
      const [to = ''] = world.recipients;
      if (client) {
        const { fate } = await writeBatch(client, account.id, [{ to, body }], 0, 'commit');
        rows.set(body, { fate, at: Date.now() });
        await client.end().catch(() => {});
        if (fate === 'committed') return body;
      }
      await delay(RETRY_MS);
    }
  };
  const quiet = async () => {
    sending.abort();
    await Promise.all([...writing, sender.ended]);
  };
  return {
    rows,
    sent,
    sinks,
    async probe(account) {
      const [rowBody, sentBody] = await Promise.all([insertProbe(account), sender.probe(account)]);
      return { rowBody, sentBody };
    },
    quiet,
    async stop() {
      await quiet();
      receiving.abort();
      await Promise.all(ends);
    },
  };
};
