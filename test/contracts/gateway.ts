/** What every gateway keeps to as the runner calls it. Each one's test runs this with a peer of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { shardOf } from '../../src/db/ownership.ts';
import { type Gateway, type GatewayParts, startGateways } from '../../src/gateway.ts';
import { createLog } from '../../src/log.ts';
import { type TestDatabase, testDatabase, withoutDatabase } from '../support/database.ts';

/** The far end of the links. */
export type GatewayPeer = {
  /** Inserts the rows of so many links that are to be online; returns their ids. */
  insertLinks(db: TestDatabase, count: number): Promise<number[]>;
  /** How often the link has been established. */
  countOpened(linkId: number): number;
  isOpen(linkId: number): boolean;
  stop(): Promise<void>;
};

export type GatewaySubject = {
  name: string;
  create(parts: GatewayParts): Gateway;
  startPeer(): Promise<GatewayPeer>;
};

const POLL_MS = 5;
const PATIENCE_MS = 20_000;

const until = async (isTrue: () => boolean, what: string): Promise<void> => {
  const giveUpAt = Date.now() + PATIENCE_MS;
  while (!isTrue()) {
    assert.ok(Date.now() < giveUpAt, `not in time: ${what}`);
    await delay(POLL_MS);
  }
};

/** What keeps this process alive, but for the clock of the one who asks. */
const openHandles = (): string =>
  process
    .getActiveResourcesInfo()
    .filter((kind) => kind !== 'Immediate')
    .sort()
    .join();

const openRunner = async (subject: GatewaySubject, db: TestDatabase) => {
  const gateways: Gateway[] = [];
  const create = (parts: GatewayParts) => {
    const gateway = subject.create(parts);
    gateways.push(gateway);
    return gateway;
  };
  const log = createLog(process.env.LOG_LEVEL || 'silent', 2);
  const options = { address: db.address, version: 'test', log, create: [create] };
  const runner = await startGateways(options, new AbortController().signal);
  const [gateway] = gateways;
  assert.ok(gateway);
  return { runner, gateway };
};

/** Runs `work` with three links online. */
const withLinks = async (
  subject: GatewaySubject,
  work: (links: {
    db: TestDatabase;
    peer: GatewayPeer;
    gateway: Gateway;
    ids: number[];
    allOpen: () => boolean;
  }) => Promise<void>,
): Promise<void> => {
  await using db = await testDatabase();
  const peer = await subject.startPeer();
  const { runner, gateway } = await openRunner(subject, db);
  try {
    const ids = await peer.insertLinks(db, 3);
    const allOpen = () => ids.every((id) => peer.isOpen(id));
    await until(allOpen, 'links online');
    await work({ db, peer, gateway, ids, allOpen });
  } finally {
    await runner.stop();
    await peer.stop();
  }
};

export const gatewayContract = (subject: GatewaySubject): void => {
  const named = (text: string) => `${subject.name}: ${text}`;

  test(named('a sync that finds nothing new leaves the links alone'), () =>
    withLinks(subject, async ({ peer, gateway, ids, allOpen }) => {
      await gateway.sync();
      await gateway.sync();
      assert.ok(allOpen());
      for (const id of ids) assert.equal(peer.countOpened(id), 1);
    }),
  );

  test(named('what was dropped comes back with the next sync'), () =>
    withLinks(subject, async ({ peer, gateway, ids, allOpen }) => {
      gateway.drop();
      await until(() => ids.every((id) => !peer.isOpen(id)), 'links dropped');
      await gateway.sync();
      await until(allOpen, 'links back');
      for (const id of ids) assert.equal(peer.countOpened(id), 2);
    }),
  );

  test(named('giving up a shard closes its links and no others'), () =>
    withLinks(subject, async ({ peer, gateway, ids: [first = 0, ...others] }) => {
      await gateway.release(shardOf(first));
      await until(() => !peer.isOpen(first), 'link closed');
      for (const id of others) {
        assert.ok(peer.isOpen(id));
        assert.equal(peer.countOpened(id), 1);
      }
    }),
  );

  test(named('a row that goes takes its link with it, and no other'), () =>
    withLinks(subject, async ({ db, peer, gateway, ids: [first = 0, ...others] }) => {
      const [table] = gateway.tables;
      await db.rows(`delete from ${table} where id = $1`, [first]);
      await until(() => !peer.isOpen(first), 'link closed');
      for (const id of others) assert.equal(peer.countOpened(id), 1);
    }),
  );

  test(named('after a stop nothing is open, and a second start finds its links'), async () => {
    await using db = await testDatabase();
    const peer = await subject.startPeer();
    try {
      const before = openHandles();
      const ids = await peer.insertLinks(db, 3);
      for (const count of [1, 2]) {
        const { runner } = await openRunner(subject, db);
        await until(() => ids.every((id) => peer.isOpen(id)), 'links online');
        await runner.stop();
        await until(() => ids.every((id) => !peer.isOpen(id)), 'links closed');
        for (const id of ids) assert.equal(peer.countOpened(id), count);
      }
      const giveUpAt = Date.now() + PATIENCE_MS;
      while (openHandles() !== before && Date.now() < giveUpAt) {
        await new Promise((done) => setImmediate(done));
      }
      assert.equal(openHandles(), before);
    } finally {
      await peer.stop();
    }
  });

  test(named('without the database links are closed, and come back with it'), () =>
    withLinks(subject, async ({ db, peer, gateway, ids, allOpen }) => {
      await withoutDatabase(db, async () => {
        await until(() => ids.every((id) => !peer.isOpen(id)), 'links closed');
        await assert.rejects(gateway.sync());
      });
      await until(allOpen, 'links back');
    }),
  );
};
