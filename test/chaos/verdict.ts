/** What must hold after all that went wrong, and a table of what it cost. */
import type { Row, Sent } from './load.ts';

/** A fault as it took place. */
export type Inflicted = {
  kind: string;
  startedAt: number;
  /** When all was mended. */
  healedAt: number;
  /** From then until a row had gone out and a message had come in; null when the next fault came before. */
  recoveryMs: number | null;
};

export type Evidence = {
  faults: Inflicted[];
  written: Map<string, Row>;
  /** The queue as the database has it at the end. */
  rows: {
    body: string;
    state: string;
    stanzaId: string | null;
    linkId: number;
    settledAt: number;
  }[];
  /** What the far ends got, each in its order. */
  arrivals: { recipient: string; body: string; id: string | null; at: number }[];
  sent: Map<string, Sent>;
  /** What the daemon received, by id. */
  received: { body: string; messageId: string | null; at: number }[];
  /** Kinds of fault that may cost messages which the server had acknowledged. */
  serverLoses: readonly string[];
};

/** What a kind of fault has cost, added up. */
export type Cost = {
  kind: string;
  faults: number;
  lost: number;
  doubled: number;
  mixed: number;
  receivedLost: number;
  receivedDoubled: number;
  receivedMixed: number;
  recoveriesMs: number[];
};

export type Verdict = {
  costs: Cost[];
  /** What must not be, in words; empty when all is well. */
  violations: string[];
  totals: { rows: number; rolledBack: number; undecided: number; sent: number; received: number };
};

/** Rows in doubt at most, by link; so many may be sent again after one fault. */
const WINDOW_ROWS = 400;
/** A server that goes down may lose or double what it took or brought this long before, and until all are back. */
const LOSS_MS = 3_000;
const SETTLED = new Set(['submitted', 'delivered', 'displayed']);

const splitBody = (body: string): { stream: string; number: number } => {
  const [stream = '', number = ''] = body.split(':');
  return { stream, number: Number(number) };
};

/** Bodies that come for the first time and after one of a greater number of their stream. */
const findMixed = <T extends { body: string }>(messages: T[]): T[] => {
  const greatest = new Map<string, number>();
  const seen = new Set<string>();
  return messages.filter(({ body }) => {
    if (seen.has(body)) return false;
    seen.add(body);
    const { stream, number } = splitBody(body);
    const before = greatest.get(stream) ?? 0;
    greatest.set(stream, Math.max(before, number));
    return number < before;
  });
};

/** Messages that are not the first with their body. */
const findCopies = <T extends { body: string }>(messages: T[]): T[] => {
  const seen = new Set<string>();
  return messages.filter(({ body }) => seen.has(body) || !seen.add(body));
};

const countCosts = (faults: Inflicted[]) => {
  const costs = new Map<string, Cost>();
  const costOf = (kind: string): Cost => {
    const none = { faults: 0, lost: 0, doubled: 0, mixed: 0 };
    const noneReceived = { receivedLost: 0, receivedDoubled: 0, receivedMixed: 0 };
    const cost = costs.get(kind) ?? { kind, ...none, ...noneReceived, recoveriesMs: [] };
    costs.set(kind, cost);
    return cost;
  };
  for (const { kind, recoveryMs } of faults) {
    costOf(kind).faults += 1;
    if (recoveryMs !== null) costOf(kind).recoveriesMs.push(recoveryMs);
  }
  return { costs, costAt: (at: number) => costOf(faultAt(faults, at)?.kind ?? 'before any fault') };
};

/** The last fault that had begun by then. */
const faultAt = (faults: Inflicted[], at: number): Inflicted | undefined =>
  faults.findLast(({ startedAt }) => startedAt <= at);

/** The faults since the last time that all had recovered, whose costs cannot be told apart. */
const groupAt = (faults: Inflicted[], at: number): { first: number; size: number } => {
  const last = faults.findLastIndex(({ startedAt }) => startedAt <= at);
  let first = last;
  while (first > 0 && faults[first - 1]?.recoveryMs === null) first -= 1;
  return { first, size: last - first + 1 };
};

/** When all had recovered from a fault and those that followed at once. */
const recoveredAt = (faults: Inflicted[], index: number): number => {
  const last = faults.slice(index).find(({ recoveryMs }) => recoveryMs !== null);
  return last ? last.healedAt + (last.recoveryMs ?? 0) : Number.POSITIVE_INFINITY;
};

const isServersLoss = ({ faults, serverLoses }: Evidence, at: number): boolean =>
  faults.some(
    ({ kind, startedAt }, index) =>
      serverLoses.includes(kind) &&
      at >= startedAt - LOSS_MS &&
      at <= recoveredAt(faults, index) + LOSS_MS,
  );

type Court = { costAt(at: number): Cost; accuse(text: string): void };

const judgeTable = ({ written, rows }: Evidence, { accuse }: Court): void => {
  const stored = new Set(rows.map(({ body }) => body));
  for (const [body, { fate }] of written) {
    if (fate === 'committed' && !stored.has(body)) accuse(`${body} was committed and is no row`);
    if (fate === 'rolled back' && stored.has(body)) accuse(`${body} was rolled back and is a row`);
  }
  for (const { body, state } of rows) {
    if (!SETTLED.has(state)) accuse(`${body} is ${state}`);
  }
};

const judgeArrivals = (evidence: Evidence, { costAt, accuse }: Court): void => {
  const { rows, arrivals, faults } = evidence;
  const byBody = new Map(rows.map((row) => [row.body, row]));
  const arrived = new Set(arrivals.map(({ body }) => body));
  for (const { body, settledAt } of rows.filter((row) => !arrived.has(row.body))) {
    costAt(settledAt).lost += 1;
    if (!isServersLoss(evidence, settledAt)) accuse(`${body} never arrived`);
  }
  for (const { body, id } of arrivals) {
    const row = byBody.get(body);
    if (!row) accuse(`${body} arrived and is no committed row`);
    else if (row.stanzaId !== id) accuse(`${body} arrived as ${id}, its row has ${row.stanzaId}`);
  }
  const copiesByGroup = new Map<string, { count: number; most: number }>();
  for (const { body, at } of findCopies(arrivals)) {
    costAt(at).doubled += 1;
    const { first, size } = groupAt(faults, at);
    const group = `link ${byBody.get(body)?.linkId} after fault ${first}`;
    const { count, most } = copiesByGroup.get(group) ?? { count: 0, most: 0 };
    copiesByGroup.set(group, { count: count + 1, most: Math.max(most, size * WINDOW_ROWS) });
  }
  for (const [group, { count, most }] of copiesByGroup) {
    if (count > most) accuse(`${count} copies, where ${most} may be: ${group}`);
  }
  for (const recipient of new Set(arrivals.map((arrival) => arrival.recipient))) {
    const own = arrivals.filter((arrival) => arrival.recipient === recipient);
    for (const { body, at } of findMixed(own)) {
      costAt(at).mixed += 1;
      accuse(`${body} arrived out of order`);
    }
  }
};

const judgeReceived = (evidence: Evidence, { costAt, accuse }: Court): void => {
  const { sent, received } = evidence;
  const there = new Set(received.map(({ body }) => body));
  for (const [body, { fate, at }] of sent) {
    if (there.has(body) || fate === 'unknown') continue;
    costAt(at).receivedLost += 1;
    if (!isServersLoss(evidence, at)) accuse(`${body} was ${fate} and is no row`);
  }
  for (const { body, messageId } of received) {
    if (!sent.has(body)) accuse(`${body} is a received row and was never sent`);
    else if (messageId !== body) accuse(`${body} was received with the id ${messageId}`);
  }
  for (const { body, at } of findCopies(received)) {
    costAt(at).receivedDoubled += 1;
    if (!isServersLoss(evidence, at)) accuse(`${body} was received twice`);
  }
  for (const { body, at } of findMixed(received)) {
    costAt(at).receivedMixed += 1;
    if (!isServersLoss(evidence, at)) accuse(`${body} was received out of order`);
  }
};

export const judge = (evidence: Evidence): Verdict => {
  const violations: string[] = [];
  const { costs, costAt } = countCosts(evidence.faults);
  const court: Court = { costAt, accuse: (text) => violations.push(text) };
  judgeTable(evidence, court);
  judgeArrivals(evidence, court);
  judgeReceived(evidence, court);
  const fates = [...evidence.written.values()];
  return {
    costs: [...costs.values()].sort((a, b) => a.kind.localeCompare(b.kind)),
    violations,
    totals: {
      rows: evidence.rows.length,
      rolledBack: fates.filter(({ fate }) => fate === 'rolled back').length,
      undecided: fates.filter(({ fate }) => fate === 'unknown').length,
      sent: evidence.sent.size,
      received: evidence.received.length,
    },
  };
};

const medianOf = (numbers: number[]): number | null => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? null;
};

const formatMs = (ms: number | null): string => (ms === null ? '-' : `${Math.round(ms)}`);

const HEADER = ['fault', 'count', 'lost', 'doubled', 'mixed', 'in: lost', 'doubled', 'mixed'];
const TIMES = ['back after ms', 'max'];

/** The table for people, a line for each kind of fault and one for the sum. */
export const formatCosts = (costs: Cost[]): string => {
  const sum = (read: (cost: Cost) => number) =>
    costs.reduce((total, cost) => total + read(cost), 0);
  const all: Cost = {
    kind: 'all',
    faults: sum((cost) => cost.faults),
    lost: sum((cost) => cost.lost),
    doubled: sum((cost) => cost.doubled),
    mixed: sum((cost) => cost.mixed),
    receivedLost: sum((cost) => cost.receivedLost),
    receivedDoubled: sum((cost) => cost.receivedDoubled),
    receivedMixed: sum((cost) => cost.receivedMixed),
    recoveriesMs: costs.flatMap((cost) => cost.recoveriesMs),
  };
  const lines = [...costs, all].map(({ kind, recoveriesMs, ...counts }) => [
    kind,
    ...Object.values(counts).map(String),
    formatMs(medianOf(recoveriesMs)),
    formatMs(recoveriesMs.length > 0 ? Math.max(...recoveriesMs) : null),
  ]);
  const table = [[...HEADER, ...TIMES], ...lines];
  const widths = [...HEADER, ...TIMES].map((_, column) =>
    Math.max(...table.map((line) => line[column]?.length ?? 0)),
  );
  const pad = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  return table.map((line) => line.map(pad).join('  ')).join('\n');
};
