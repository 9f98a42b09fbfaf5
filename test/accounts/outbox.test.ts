/** What goes to a room is settled when the room shows it, not when the server has it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TxRow } from '../../src/accounts/link.ts';
import { createOutbox } from '../../src/accounts/outbox.ts';
import type { Link } from '../../src/db/queue.ts';
import type { Result } from '../../src/db/queueWriter.ts';
import { ProtocolError, RetryError } from '../../src/errors.ts';
import type { Session } from '../../src/xmpp/session.ts';
import { silentLog } from '../support/silentLog.ts';

const ROOM = 'tea@rooms.test';

const createRow = (id: number, messageType = 'groupchat', messageTo = ROOM): TxRow => ({
  id,
  linkId: 1,
  priority: 0,
  expiresAt: null,
  nextTryAt: null,
  attempts: 0,
  isSubmitting: false,
  insertedAtS: 0,
  messageStanza: null,
  messageTo,
  messageSubject: null,
  messageBody: `body ${id}`,
  messageType,
  thread: null,
  lang: null,
  requestReceipt: false,
  content: null,
});

/** A queue of rows, a session that keeps what is sent, and an outbox between them. */
const createBench = (rows: TxRow[], admit: (row: TxRow) => void = () => {}) => {
  const sent: string[] = [];
  const settled: [id: number, state: Result['state']][] = [];
  const putOff: [id: number, info: string][] = [];
  const forgotten: number[] = [];
  let waiting = [...rows];
  const queue: Link<TxRow> = {
    take: (count) => waiting.splice(0, count),
    settle: ({ id }, { state }) => void settled.push([id, state]),
    unsettled: () => 0,
    putOff: ({ id }, _afterMs, info) => void putOff.push([id, info]),
    giveBack(back) {
      waiting = [...back, ...waiting].sort((a, b) => a.id - b.id);
    },
    forget: ({ id }) => void forgotten.push(id),
    hasten: () => {},
    mark: async (marked) => marked,
    close: () => {},
  };
  const session = {
    send: (text: string) => void sent.push(...(text.match(/body \d+/g) ?? ['aside'])),
  } as unknown as Session; // All that an outbox uses of it.
  const outbox = createOutbox({
    describe: ({ id }) => ({ id: `id${id}`, maxBytes: 10_000 }),
    admit,
    isHolding: () => false,
    isFresh: () => true,
    proceed: () => {},
    log: silentLog,
  });
  const take = () => sent.splice(0);
  return { outbox, queue, session, settled, putOff, forgotten, take, waiting: () => waiting };
};

const NEW_STREAM = { isResumed: false, handledBefore: null };

test('an acknowledged row to a room is settled when the room has shown it', () => {
  const { outbox, queue, session, settled, take } = createBench([
    createRow(1),
    createRow(2, 'chat'),
  ]);
  outbox.pump(queue, session);
  assert.deepEqual(take(), ['body 1', 'body 2']);
  outbox.acknowledge(queue, 2);
  assert.deepEqual(settled, [[2, 'submitted']]);
  outbox.reflect(queue, 'id1');
  assert.deepEqual(settled.slice(1), [[1, 'submitted']]);
  outbox.reflect(queue, 'id1');
  assert.equal(settled.length, 2);
});

test('a reflection that comes before the acknowledgement counts, and the count goes on', () => {
  const rows = [createRow(1), createRow(2)];
  const { outbox, queue, session, settled, waiting } = createBench(rows);
  outbox.pump(queue, session);
  outbox.reflect(queue, 'id1');
  assert.deepEqual(settled, [[1, 'submitted']]);
  outbox.acknowledge(queue, 1);
  outbox.begin(queue, { isResumed: true, handledBefore: 1 });
  assert.deepEqual(settled, [[1, 'submitted']]);
  assert.deepEqual(
    waiting().map(({ id }) => id),
    [2],
    'what the server has not handled is sent again',
  );
});

test('on a new stream all that a room may have taken waits for it', () => {
  const rows = [createRow(1), createRow(2), createRow(3, 'chat', 'bob@b.test')];
  const { outbox, queue, session, settled, take, waiting } = createBench(rows);
  outbox.pump(queue, session);
  outbox.acknowledge(queue, 1);
  take();
  outbox.begin(queue, NEW_STREAM);
  assert.deepEqual(
    waiting().map(({ id }) => id),
    [3],
  );
  outbox.pump(queue, session);
  assert.deepEqual(take(), ['body 3']);
  outbox.reflect(queue, 'id1');
  outbox.abandon(queue, 'other@rooms.test');
  assert.deepEqual(waiting(), []);
  outbox.abandon(queue, ROOM);
  outbox.acknowledge(queue, 1);
  outbox.pump(queue, session);
  assert.deepEqual(take(), ['body 2']);
  assert.deepEqual(settled, [
    [1, 'submitted'],
    [3, 'submitted'],
  ]);
});

test('a server that counted for the old stream leaves only what it handled in doubt', () => {
  const { outbox, queue, session, waiting } = createBench([createRow(1), createRow(2)]);
  outbox.pump(queue, session);
  outbox.begin(queue, { isResumed: false, handledBefore: 1 });
  assert.deepEqual(
    waiting().map(({ id }) => id),
    [2],
  );
  outbox.abandon(queue, ROOM);
  assert.deepEqual(
    waiting().map(({ id }) => id),
    [1, 2],
  );
});

test('a row that was read before a reflection settled it is not sent', () => {
  const { outbox, queue, session, settled, take } = createBench([createRow(1), createRow(2)]);
  outbox.reflect(queue, 'id1');
  outbox.pump(queue, session);
  assert.deepEqual(take(), ['body 2']);
  assert.deepEqual(settled, [[1, 'submitted']]);
});

test('an error from the room ends the waiting, one from another does not', () => {
  const { outbox, queue, session, forgotten, waiting } = createBench([createRow(1), createRow(2)]);
  outbox.pump(queue, session);
  outbox.acknowledge(queue, 1);
  for (const from of [null, 'eve@evil.test', 'no jid@', 'rooms.test']) {
    for (const id of ['id1', 'id2']) outbox.dismiss(queue, id, from);
  }
  assert.deepEqual(forgotten, []);
  outbox.dismiss(queue, 'id1', ROOM);
  outbox.dismiss(queue, 'id2', `${ROOM}/nick`);
  assert.deepEqual(forgotten, [1, 2]);
  outbox.giveBack(queue);
  assert.deepEqual(waiting(), []);
});

test('a room that does not show a message is tried three times', (t) => {
  t.mock.timers.enable({ apis: ['Date'] });
  const rows = [createRow(1)];
  const { outbox, queue, session, settled, putOff } = createBench(rows);
  for (const tries of [1, 2, 3]) {
    outbox.pump(queue, session);
    outbox.acknowledge(queue, 1);
    t.mock.timers.tick(59_000);
    outbox.pump(queue, session);
    assert.equal(putOff.length, tries - 1);
    t.mock.timers.tick(2_000);
    outbox.pump(queue, session);
    if (tries < 3) queue.giveBack(rows);
  }
  const info = 'the room has not shown the message';
  assert.deepEqual(putOff, [
    [1, info],
    [1, info],
  ]);
  assert.deepEqual(settled, [[1, 'failed']]);
});

test('rows to a room that is not joined are put off, and given back with the link', () => {
  const admit = ({ id }: TxRow) => {
    if (id === 1) throw new RetryError('not joined', 1_000);
  };
  const { outbox, queue, session, putOff, waiting } = createBench(
    [createRow(1), createRow(2)],
    admit,
  );
  outbox.pump(queue, session);
  assert.deepEqual(putOff, [[1, 'not joined']]);
  outbox.acknowledge(queue, 1);
  outbox.giveBack(queue);
  assert.deepEqual(
    waiting().map(({ id }) => id),
    [2],
  );
});

test('a row that was shown is not suspected of what ends the stream', () => {
  const { outbox, queue, session, take } = createBench([createRow(1), createRow(2), createRow(3)]);
  outbox.pump(queue, session);
  take();
  outbox.reflect(queue, 'id1');
  outbox.suspect(queue, new ProtocolError('bad', 'bad-format'));
  outbox.begin(queue, { isResumed: false, handledBefore: 0 });
  outbox.pump(queue, session);
  assert.deepEqual(take(), ['body 2'], 'one by one, without the first');
});
