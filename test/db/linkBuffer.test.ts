/** The rows of a link in memory, against a plain model of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createLinkBuffer, type QueueRow } from '../../src/db/linkBuffer.ts';

type Row = QueueRow & { key: string };
type Buffer = ReturnType<typeof createLinkBuffer<Row>>;

const createBuffer = (): Buffer => createLinkBuffer<Row>(({ key }) => key);

const row = (id: number, change: Partial<Row> = {}): Row => ({
  id,
  linkId: 1,
  priority: 0,
  expiresAt: null,
  nextTryAt: null,
  attempts: 0,
  isSubmitting: false,
  key: 'a',
  ...change,
});

const inOrder = (a: Row, b: Row): number => a.priority - b.priority || a.id - b.id;
const ids = (rows: Row[]): number[] => rows.map(({ id }) => id);
const range = (count: number): Row[] => Array.from({ length: count }, (_, at) => row(at + 1));

const PAGE = 4;

/** A table with its link: what is queued, what is in memory, what is taken. */
const createWorld = () => {
  const buffer = createBuffer();
  const table = new Map<number, Row>();
  const memory = new Set<number>();
  const taken = new Map<number, Row>();
  let lastId = 0;

  const loadPage = () => {
    const after = buffer.nextPage();
    if (after === null) return;
    const place = row(after.id, { priority: after.priority });
    const behind = [...table.values()].filter((other) => inOrder(place, other) < 0).sort(inOrder);
    const page = behind.slice(0, PAGE);
    buffer.addPage(page, page.length < PAGE);
    for (const { id } of page) if (!taken.has(id)) memory.add(id);
  };

  /** What may go now by the rules, told without the buffer. */
  const expectTake = (count: number, now: number): Row[] => {
    const blocked = new Set<string>();
    const rows = [...memory].flatMap((id) => table.get(id) ?? []).sort(inOrder);
    const free = rows.filter(({ key, nextTryAt }) => {
      if (blocked.has(key) || (nextTryAt !== null && nextTryAt > now)) blocked.add(key);
      return !blocked.has(key);
    });
    return free.slice(0, count);
  };

  return {
    taken,
    loadPage,
    insert(priority: number, key: string) {
      lastId += 1;
      const fresh = row(lastId, { priority, key });
      const after = buffer.nextPage();
      table.set(lastId, fresh);
      const isLoaded = after === null || inOrder(fresh, row(after.id, after)) <= 0;
      assert.equal(buffer.offer(fresh), isLoaded);
      if (isLoaded) memory.add(lastId);
    },
    take(count: number, now: number) {
      const expected = expectTake(count, now);
      const rows = buffer.take(count, now);
      assert.deepEqual(ids(rows), ids(expected));
      for (const one of rows) {
        memory.delete(one.id);
        taken.set(one.id, one);
      }
    },
    settle(id: number) {
      taken.delete(id);
      table.delete(id);
      buffer.release(id);
    },
    giveBack(id: number, nextTryAt: number | null) {
      const back = { ...(taken.get(id) ?? row(id)), nextTryAt };
      taken.delete(id);
      table.set(id, back);
      memory.add(id);
      buffer.giveBack([back]);
    },
    cancel(id: number) {
      if (!memory.has(id)) return;
      table.delete(id);
      memory.delete(id);
      buffer.drop((other) => other === id);
    },
    reset() {
      buffer.reset();
      memory.clear();
    },
    check() {
      assert.deepEqual(new Set(buffer.ids()), memory);
      assert.deepEqual(new Set(buffer.takenIds()), new Set(taken.keys()));
      assert.equal(buffer.hasRows(), memory.size > 0);
    },
    /** Sends all that is left, and tells how many rows never came. */
    drain(now: number) {
      for (const id of [...taken.keys()]) this.settle(id);
      for (let turn = 0; turn < 1_000 && table.size > 0; turn += 1) {
        loadPage();
        for (const { id } of buffer.take(3, now)) {
          taken.set(id, row(id));
          this.settle(id);
        }
      }
      return table.size;
    },
  };
};

const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('insert'), a: fc.integer({ min: -1, max: 1 }), b: fc.nat(2) }),
    fc.record({ do: fc.constant('page'), a: fc.constant(0), b: fc.constant(0) }),
    fc.record({ do: fc.constant('take'), a: fc.nat(4), b: fc.nat(20) }),
    fc.record({ do: fc.constantFrom('settle', 'giveBack', 'putOff'), a: fc.nat(9), b: fc.nat(20) }),
    fc.record({ do: fc.constant('cancel'), a: fc.nat(20), b: fc.constant(0) }),
    fc.record({ do: fc.constant('reset'), a: fc.constant(0), b: fc.constant(0) }),
  ),
  { maxLength: 60 },
);

test('whatever is done, rows go in order, none twice, none lost', () => {
  fc.assert(
    fc.property(steps, (given) => {
      const world = createWorld();
      for (const { do: what, a, b } of given) {
        const chosen = [...world.taken.keys()][a % Math.max(1, world.taken.size)];
        if (what === 'insert') world.insert(a, 'abc'[b] ?? 'a');
        else if (what === 'page') world.loadPage();
        else if (what === 'take') world.take(a, b);
        else if (what === 'cancel') world.cancel(a);
        else if (what === 'reset') world.reset();
        else if (chosen === undefined) continue;
        else if (what === 'settle') world.settle(chosen);
        else world.giveBack(chosen, what === 'putOff' ? b : null);
        world.check();
      }
      assert.equal(world.drain(Number.MAX_SAFE_INTEGER), 0);
    }),
    { numRuns: 500 },
  );
});

test('memory is bounded: rows beyond a thousand stay in the table and are read again', () => {
  const buffer = createBuffer();
  buffer.addPage([], true);
  for (const fresh of range(10_000)) buffer.offer(fresh);
  assert.ok(buffer.ids().length <= 1_000);
  assert.equal(buffer.takenIds().length, 0);
  const next = buffer.nextPage();
  assert.equal(next?.id, buffer.ids().at(-1));
  assert.deepEqual(
    buffer.ids(),
    ids(range(next?.id ?? 0)),
    'what is in memory has no gap before the next page',
  );
});

test('a row put off waits with those behind it, and the time of the earliest is told', () => {
  const buffer = createBuffer();
  buffer.addPage([row(1), row(2), row(3, { key: 'b' })], true);
  const [first] = buffer.take(1, 0);
  assert.ok(first);
  buffer.giveBack([{ ...first, nextTryAt: 500 }]);
  assert.equal(buffer.nextTryAt(), 500);
  assert.equal(buffer.nextTryAt(500), 500);
  assert.equal(buffer.nextTryAt(501), null);
  assert.deepEqual(ids(buffer.take(9, 499)), [3]);
  assert.deepEqual(ids(buffer.take(9, 500)), [1, 2]);
  assert.equal(buffer.nextTryAt(), null);
});

test('a row that is held elsewhere is not read from the table', () => {
  const buffer = createBuffer();
  buffer.hold(2);
  buffer.addPage(range(3), true);
  assert.deepEqual(ids(buffer.take(9, 0)), [1, 3]);
  buffer.release(2);
  assert.equal(buffer.offer(row(2)), true);
});

test('it is low while a page would fit', () => {
  const buffer = createBuffer();
  assert.equal(buffer.isLow(), true);
  buffer.addPage(range(500), false);
  assert.equal(buffer.isLow(), false);
});
