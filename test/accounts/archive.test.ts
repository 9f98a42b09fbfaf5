/** Nothing is missed: what other clients of the account send and get, and what came while it was away. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { RawClient } from '../peers/rawClient.ts';
import {
  type DaemonProcess,
  spawnDaemon,
  startDaemon,
  type TestDaemon,
} from '../support/daemon.ts';
import { createScene, describeEach, hasBody, type Peer, type Scene } from '../support/scene.ts';

type RxRow = {
  id: number;
  account_id: number;
  message_from: string;
  message_to: string;
  message_body: string | null;
  message_id: string | null;
  archive_id: string | null;
  delayed_at: Date | null;
  carbon: string | null;
};

const NS_CARBONS = 'urn:xmpp:carbons:2';
const MESSAGES = 500;

/** Settles when the server has dealt with what the client has sent. */
const ping = (client: RawClient, to: string) => {
  const id = `p${Math.random()}`;
  client.send(`<iq type='get' id='${id}' to='${to}'><ping xmlns='urn:xmpp:ping'/></iq>`);
  return client.next(({ element }) => element.attrs.id === id, 30_000);
};

const holdArchive = (peer: Peer) => {
  let scene: Scene;
  let bob: RawClient;
  let daemon: TestDaemon;
  before(async () => {
    scene = await createScene(peer, { settings: 'smacks_max_queue_size = 5000' });
    daemon = scene.daemon;
    bob = await scene.addClient('bob', { resource: 'phone' });
  });
  after(async () => {
    await daemon?.stop();
    await scene?.close();
  });

  const jidOf = (name: string) => `${name}@${scene.server.domain}`;
  const rowsOf = (account: number) =>
    scene.db.rows<RxRow>('select * from xmpp_rx_queue where account_id = $1 order by id', [
      account,
    ]);
  const untilBody = (account: number, body: string) =>
    scene.db.until<RxRow>(
      'select * from xmpp_rx_queue where account_id = $1 and message_body = $2',
      [account, body],
      30_000,
    );
  const untilCursor = (account: number) =>
    scene.db.until('select from xmpp_archives where account_id = $1', [account]);
  const spoofedOf = async (account: number) => {
    const [row] = await scene.db.rows<{ spoofed_count: number }>(
      'select spoofed_count from xmpp_accounts where id = $1',
      [account],
    );
    return row?.spoofed_count;
  };

  test('what other clients of the account send and get are rows, too', async () => {
    const account = await scene.addAccount('carbons');
    const phone = await scene.addClient('carbons', { resource: 'phone' });
    const origin = "<origin-id xmlns='urn:xmpp:sid:0' id='o-1'/>";
    phone.send(
      `<message to='${bob.jid}' type='chat' id='c-1'><body>sent elsewhere</body>${origin}</message>`,
    );
    const sent = await untilBody(account, 'sent elsewhere');
    assert.partialDeepStrictEqual(sent, {
      carbon: 'sent',
      message_from: phone.jid,
      message_to: bob.jid,
      message_id: 'c-1',
      origin_id: 'o-1',
      delayed_at: null,
    });
    assert.ok(sent.archive_id);
    const request = "<request xmlns='urn:xmpp:receipts'/>";
    bob.send(
      `<message to='${phone.jid}' type='chat' id='c-2'><body>for the phone</body>${request}</message>`,
    );
    const received = await untilBody(account, 'for the phone');
    assert.partialDeepStrictEqual(received, {
      carbon: 'received',
      message_from: bob.jid,
      message_to: phone.jid,
    });
    assert.ok(received.archive_id);
    bob.send(
      `<message to='${jidOf('carbons')}' type='chat' id='c-3'><body>for all</body></message>`,
    );
    assert.equal((await untilBody(account, 'for all')).carbon, null);
    // The cursor went along.
    await scene.db.until(
      `select from xmpp_archives a join xmpp_rx_queue q using (account_id, archive_id)
      where a.account_id = $1 and a.jid = $2 and q.message_body = 'for all'`,
      [account, jidOf('carbons')],
    );
    // No receipt for what another client has got.
    await ping(bob, scene.server.domain);
    assert.ok(!bob.stanzas.some(({ element }) => element.find('received')?.attrs.id === 'c-2'));
    assert.equal((await rowsOf(account)).length, 3);
    phone.destroy();
  });

  test('a marker that another client of the account sends says nothing of a row', async () => {
    const account = await scene.addAccount('marker');
    const tablet = await scene.addPeer('marker', { resource: 'tablet' });
    const row = await scene.insert({
      account_id: account,
      message_to: bob.jid,
      message_body: 'marked',
    });
    const { stanza_id } = await scene.untilState(row, 'submitted');
    const marker = (id: string) => `<displayed xmlns='urn:xmpp:chat-markers:0' id='${id}'/>`;
    tablet.send(`<message to='${bob.jid}' type='chat'>${marker(`${stanza_id}`)}</message>`);
    tablet.send(`<message to='${bob.jid}' type='chat'><body>after the marker</body></message>`);
    await untilBody(account, 'after the marker');
    await scene.untilState(row, 'submitted');
    // What was sent to another client of the account does.
    bob.send(`<message to='${tablet.jid}' type='chat'>${marker(`${stanza_id}`)}</message>`);
    await scene.untilState(row, 'displayed');
    assert.equal(await spoofedOf(account), 0);
    await tablet.close();
  });

  test('forged carbons and archive results are counted and change nothing else', async () => {
    const account = await scene.addAccount('victim');
    await untilCursor(account);
    const own = jidOf('victim');
    const inner = (from: string, to: string) =>
      `<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' type='chat' from='${from}' ` +
      `to='${to}'><body>forged</body></message></forwarded>`;
    const forged = [
      `<sent xmlns='${NS_CARBONS}'>${inner(own, bob.jid)}</sent>`,
      `<received xmlns='${NS_CARBONS}'>${inner('boss@b.test', own)}</received>`,
      `<result xmlns='urn:xmpp:mam:2' queryid='1' id='1'>${inner('boss@b.test', own)}</result>`,
      `<result xmlns='urn:xmpp:mam:2' id='1'>${inner(own, bob.jid)}</result>`,
    ];
    for (const content of forged) {
      bob.send(`<message to='${own}/rowgram' type='chat'>${content}</message>`);
    }
    // Another client of the account is not its server.
    const phone = await scene.addClient('victim', { resource: 'phone' });
    phone.send(`<message to='${own}/rowgram' type='chat'>${forged[1]}</message>`);
    phone.send(`<message to='${own}/rowgram' type='chat'>${forged[2]}</message>`);
    phone.send(`<message to='${bob.jid}' type='chat'><body>true</body></message>`);
    const { archive_id } = await untilBody(account, 'true');
    // Two of them came as carbons, too, each of a carbon or a result.
    assert.equal(await spoofedOf(account), 8);
    assert.deepEqual(
      (await rowsOf(account)).map(({ message_body }) => message_body),
      ['true'],
    );
    assert.deepEqual(
      await scene.db.rows('select archive_id from xmpp_archives where account_id = $1', [account]),
      [{ archive_id }],
    );
    phone.destroy();
  });

  const sendAll = async (to: string, name: string) => {
    for (let n = 1; n <= MESSAGES; n += 1) {
      bob.send(
        `<message to='${to}' type='chat' id='${name}-${n}'><body>${name} ${n}</body></message>`,
      );
    }
    await ping(bob, scene.server.domain);
  };

  /** Exactly one row each, in order. */
  const assertAll = async (account: number, name: string) => {
    await untilBody(account, `${name} ${MESSAGES}`);
    await untilBody(account, `${name} 1`);
    // What comes behind proves that nothing more is on its way.
    await delay(300);
    bob.send(`<message to='${jidOf(name)}' type='chat'><body>${name} last</body></message>`);
    await untilBody(account, `${name} last`);
    const rows = await rowsOf(account);
    assert.deepEqual(
      rows.map(({ message_body }) => message_body),
      [...Array.from({ length: MESSAGES }, (_, at) => `${name} ${at + 1}`), `${name} last`],
    );
    for (const { archive_id, message_body } of rows) assert.ok(archive_id, `${message_body}`);
    assert.equal(new Set(rows.map(({ archive_id }) => archive_id)).size, rows.length);
    assert.equal(await spoofedOf(account), 0);
  };

  test('500 messages while the daemon was stopped are 500 rows, though both the archive and the offline store have them', async () => {
    const account = await scene.addAccount('stopped');
    await untilCursor(account);
    await daemon.stop();
    await sendAll(jidOf('stopped'), 'stopped');
    daemon = await startDaemon(scene.db.address);
    await assertAll(account, 'stopped');
    const rows = await rowsOf(account);
    for (const { delayed_at, message_body } of rows.slice(0, MESSAGES)) {
      assert.ok(delayed_at, `${message_body}`);
    }
  });

  test('500 messages that another client has taken are in the archive alone, and are 500 rows', async () => {
    const account = await scene.addAccount('taken');
    await untilCursor(account);
    await daemon.stop();
    const phone = await scene.addClient('taken', { resource: 'phone' });
    await sendAll(jidOf('taken'), 'taken');
    await phone.next(hasBody(`taken ${MESSAGES}`), 30_000);
    phone.send(`<message to='${bob.jid}' type='chat' id='t'><body>phone says</body></message>`);
    await ping(phone, scene.server.domain);
    await phone.close();
    daemon = await startDaemon(scene.db.address);
    const own = await untilBody(account, 'phone says');
    assert.equal(own.carbon, 'sent');
    assert.equal(own.message_from, phone.jid);
    await scene.db.rows('delete from xmpp_rx_queue where id = $1', [own.id]);
    await assertAll(account, 'taken');
  });

  const withProcess = async (work: (spawned: DaemonProcess) => Promise<void>) => {
    await daemon.stop();
    const spawned = spawnDaemon(scene.db.address);
    try {
      await work(spawned);
    } finally {
      await spawned[Symbol.asyncDispose]();
      daemon = await startDaemon(scene.db.address);
    }
  };

  for (const stream of ['goes on', 'is lost'] as const) {
    test(`500 messages while the daemon was dead are 500 rows; the stream ${stream}`, async () => {
      const name = stream === 'is lost' ? 'lost' : 'dead';
      const account = await scene.addAccount(name);
      await untilCursor(account);
      await withProcess(async (spawned) => {
        await scene.db.until(
          `select from xmpp_streams s join rowgram_daemons d on s.updated_at > d.started_at
          where s.account_id = $1`,
          [account],
          30_000,
        );
        await delay(500);
        spawned.kill('SIGKILL');
        await spawned.ended;
        await sendAll(jidOf(name), name);
        if (stream === 'is lost') {
          await scene.db.rows("update xmpp_streams set sm_id = 'none' where account_id = $1", [
            account,
          ]);
        }
      });
      await assertAll(account, name);
    });
  }

  test('what we have sent ourselves does not come back', async () => {
    const account = await scene.addAccount('sender');
    await untilCursor(account);
    const ids = [];
    for (let n = 0; n < 5; n += 1) {
      ids.push(
        await scene.insert({ account_id: account, message_to: bob.jid, message_body: `out ${n}` }),
      );
    }
    for (const id of ids) await scene.untilState(id, 'submitted');
    await daemon.stop();
    bob.send(`<message to='${jidOf('sender')}' type='chat'><body>in</body></message>`);
    await ping(bob, scene.server.domain);
    daemon = await startDaemon(scene.db.address);
    await untilBody(account, 'in');
    assert.equal((await rowsOf(account)).length, 1);
  });

  test('a cursor that the archive has forgotten is replaced by its time', async () => {
    const account = await scene.addAccount('forgotten');
    await untilCursor(account);
    await daemon.stop();
    await scene.db.rows("update xmpp_archives set archive_id = 'gone' where account_id = $1", [
      account,
    ]);
    const phone = await scene.addClient('forgotten', { resource: 'phone' });
    bob.send(
      `<message to='${jidOf('forgotten')}' type='chat'><body>found by time</body></message>`,
    );
    await phone.next(hasBody('found by time'));
    await phone.close();
    daemon = await startDaemon(scene.db.address);
    const row = await untilBody(account, 'found by time');
    await scene.db.until('select from xmpp_archives where account_id = $1 and archive_id = $2', [
      account,
      row.archive_id,
    ]);
    assert.equal((await rowsOf(account)).length, 1);
  });
};

describeEach('archive', holdArchive);
