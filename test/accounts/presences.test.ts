/** Who is available is rows, as long as it is so; and an account shows itself to whom its rows say. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startFakeServer } from '../peers/fakeServer.ts';
import type { RawClient } from '../peers/rawClient.ts';
import { spawnDaemon, startDaemon } from '../support/daemon.ts';
import { testDatabase } from '../support/database.ts';
import {
  createScene,
  describeEach,
  insertInto,
  type Peer,
  type Scene,
  untilOnline,
} from '../support/scene.ts';

const HASH = 'da39a3ee5e6b4b0d3255bfef95601890afd80709';
const avatar = (content: string) => `<x xmlns='vcard-temp:x:update'>${content}</x>`;

const holdPresences = (peer: Peer) => {
  let scene: Scene;
  before(async () => {
    scene = await createScene(peer);
  });
  after(() => scene?.close());

  const jidOf = (name: string) => `${name}@${scene.server.domain}`;
  const untilSeen = (account: number, jid: string, condition = 'true') =>
    scene.db.until<Record<string, unknown>>(
      `select * from xmpp_presences where account_id = $1 and jid = $2 and ${condition}`,
      [account, jid],
    );
  const untilGone = (account: number, jid: string, timeoutMs?: number) =>
    scene.db.until(
      'select where not exists (select from xmpp_presences where account_id = $1 and jid = $2)',
      [account, jid],
      timeoutMs,
    );
  const setAccount = (id: number, assignments: string) =>
    scene.db.rows(`update xmpp_accounts set ${assignments} where id = $1`, [id]);
  const nextFrom = (client: RawClient, name: string, type?: string) =>
    client.next(
      ({ element: { name: kind, attrs } }) =>
        kind === 'presence' && attrs.from?.split('/')[0] === jidOf(name) && attrs.type === type,
    );
  /** Two that see each other. */
  const befriend = async (account: number, name: string, resource = 'home') => {
    const client = await scene.addClient(name, { resource });
    const contact = await insertInto(scene.db, 'xmpp_contacts', {
      account_id: account,
      jid: jidOf(name),
      allow: true,
    });
    await client.next(({ element: { attrs } }) => attrs.type === 'subscribe');
    const { jid } =
      (
        await scene.db.rows<{ jid: string }>(
          "select split_part(full_jid, '/', 1) as jid from xmpp_accounts where id = $1",
          [account],
        )
      )[0] ?? assert.fail();
    client.send(
      `<presence to='${jid}' type='subscribed'/><presence to='${jid}' type='subscribe'/>`,
    );
    await scene.db.until("select from xmpp_contacts where id = $1 and subscription = 'both'", [
      contact,
    ]);
    await untilSeen(account, client.jid);
    return client;
  };

  test('rows appear, change and go, those of own other clients too', async () => {
    const account = await scene.addAccount('watcher');
    const bob = await befriend(account, 'bob');
    bob.send(
      `<presence><show>away</show><status>lunch &amp; more</status><priority>-3</priority></presence>`,
    );
    const first = await untilSeen(account, bob.jid, "show = 'away'");
    assert.partialDeepStrictEqual(first, {
      bare_jid: jidOf('bob'),
      status: 'lunch & more',
      priority: -3,
    });
    // The same once more is no change.
    bob.send(
      `<presence><show>away</show><status>lunch &amp; more</status><priority>-3</priority></presence>`,
    );
    bob.send(`<message to='${jidOf('watcher')}' type='chat'><body>barrier</body></message>`);
    await scene.db.until("select from xmpp_rx_queue where message_body = 'barrier'");
    const xmin = 'select xmin::text, since from xmpp_presences where account_id = $1 and jid = $2';
    const [again] = await scene.db.rows(xmin, [account, bob.jid]);
    assert.deepEqual(again?.since, first.since);
    bob.send('<presence/>');
    const plain = await untilSeen(account, bob.jid, 'show is null');
    assert.deepEqual([plain.status, plain.priority], [null, 0]);
    const second = await scene.addClient('bob', { resource: 'phone' });
    await untilSeen(account, second.jid);
    await second.close();
    await untilGone(account, second.jid);
    bob.send(`<presence type='unavailable'/>`);
    await untilGone(account, bob.jid);
    const own = await scene.addClient('watcher', { resource: 'other' });
    await untilSeen(account, own.jid);
    await delay(100);
    const rows = await scene.db.rows('select jid from xmpp_presences where account_id = $1', [
      account,
    ]);
    assert.deepEqual(rows, [{ jid: own.jid }]);
  });

  test('they go when the account sends no presence or is disabled, and come again', async () => {
    const account = await scene.addAccount('guard');
    const bob = await befriend(account, 'guarded');
    await setAccount(account, 'priority = null');
    await untilGone(account, bob.jid);
    await setAccount(account, 'priority = 1');
    await untilSeen(account, bob.jid);
    await setAccount(account, 'enabled = false');
    await untilGone(account, bob.jid);
    await scene.db.rows(
      "insert into xmpp_presences (account_id, jid, bare_jid) values ($1, 'stale@b/c', 'stale@b')",
      [account],
    );
    // As one that was killed has left it.
    await scene.db.rows('update xmpp_accounts set status = status where id = $1', [account]);
    await untilGone(account, 'stale@b/c');
    await setAccount(account, 'enabled = true');
    await untilSeen(account, bob.jid);
    await scene.db.rows(
      "insert into xmpp_presences (account_id, jid, bare_jid) values ($1, 'stale@b/c', 'stale@b')",
      [account],
    );
    await setAccount(account, "resource = 'anew'");
    await untilGone(account, 'stale@b/c');
    await untilSeen(account, bob.jid);
  });

  test('a subscription that ends takes the rows with it', async () => {
    const account = await scene.addAccount('left');
    const bob = await befriend(account, 'leaver');
    bob.send(`<presence to='${jidOf('left')}' type='unsubscribed'/>`);
    await untilGone(account, bob.jid);
  });

  test('presence is shown to whom the rows say, and to no other', async () => {
    const account = await scene.addAccount('shy', { priority: null });
    const clerk = await scene.addClient('clerk', { resource: 'desk' });
    const columns = 'account_id, jid, show, status';
    const jids = [clerk.jid, 'a b@@c'];
    for (const jid of jids) {
      await scene.db.rows(
        `insert into xmpp_directed_presences (${columns}) values ($1, $2, 'dnd', 'here <now>')`,
        [account, jid],
      );
    }
    const seen = (await nextFrom(clerk, 'shy')).element;
    assert.deepEqual([seen.find('show')?.text, seen.find('status')?.text], ['dnd', 'here <now>']);
    const untilState = (jid: string, state: string) =>
      scene.db.until<{ state_info: string | null }>(
        'select * from xmpp_directed_presences where account_id = $1 and jid = $2 and state = $3',
        [account, jid, state],
      );
    await untilState(clerk.jid, 'sent');
    assert.match((await untilState('a b@@c', 'failed')).state_info ?? '', /localpart|domainpart/);
    await scene.db.rows(
      "update xmpp_directed_presences set show = 'away' where account_id = $1 and jid = $2",
      [account, clerk.jid],
    );
    assert.equal((await nextFrom(clerk, 'shy')).element.find('show')?.text, 'away');
    await setAccount(account, 'enabled = false');
    await nextFrom(clerk, 'shy', 'unavailable');
    await setAccount(account, 'enabled = true');
    await nextFrom(clerk, 'shy');
    await scene.db.rows('delete from xmpp_directed_presences where jid = $1', [clerk.jid]);
    await nextFrom(clerk, 'shy', 'unavailable');
    // Nothing was sent twice.
    assert.equal(
      clerk.stanzas.filter(({ element: { attrs } }) => attrs.from?.startsWith('shy@')).length,
      5,
    );
  });
};

describeEach('presences', holdPresences);

const open = async () => {
  const server = await startFakeServer();
  const db = await testDatabase();
  const id = await insertInto(db, 'xmpp_accounts', {
    enabled: true,
    acc_jid: 'rowgram@fake.test',
    acc_pass: 'secret',
    srv_host: server.host,
    srv_port: server.port,
  });
  const jids = async () =>
    (await db.rows<{ jid: string }>('select jid from xmpp_presences order by jid')).map(
      ({ jid }) => jid,
    );
  return {
    server,
    db,
    id,
    jids,
    async [Symbol.asyncDispose]() {
      await db[Symbol.asyncDispose]();
      await server.stop();
    },
  };
};

const from = (jid: string, more = '') => `<presence from='${jid}'${more}/>`;

test('errors, odd resources and rooms', async () => {
  await using scene = await open();
  await using _daemon = await startDaemon(scene.db.address);
  const session = await scene.server.waitForSession(1);
  await untilOnline(scene.db, scene.id);
  const until = (condition: string) =>
    scene.db.until(
      `select where (select array_agg(jid order by jid) from xmpp_presences) ${condition}`,
    );
  session.send(from('Bob@fake.test/a') + from('bob@fake.test/b') + from('carol@fake.test/phone ❤️'));
  session.send(`${from('rowgram@fake.test/rowgram') + from('@@')}<presence/>`);
  session.send(
    `<presence from='room@muc.fake.test/nick'><x xmlns='http://jabber.org/protocol/muc#user'/></presence>`,
  );
  // Real servers put in what they know of the picture themselves.
  session.send(
    `<presence from='dave@fake.test/x'>${avatar(`<photo>${HASH.toUpperCase()}</photo>`)}</presence>`,
  );
  await until("= '{bob@fake.test/a,bob@fake.test/b,carol@fake.test/phone ❤️,dave@fake.test/x}'");
  const hash = 'select avatar_hash as hash from xmpp_presences where avatar_hash is not null';
  assert.deepEqual(await scene.db.rows(hash), [{ hash: HASH }]);
  session.send(
    from('bob@fake.test/a', " type='error'") + from('dave@fake.test/x', " type='unavailable'"),
  );
  await until("= '{bob@fake.test/b,carol@fake.test/phone ❤️}'");
  session.send(
    from('bob@fake.test', " type='error'") + from('carol@fake.test', " type='unavailable'"),
  );
  await until('is null');
});

test('who does not take a presence that is shown fails its row, once', async () => {
  await using scene = await open();
  await using _daemon = await startDaemon(scene.db.address);
  const session = await scene.server.waitForSession(1);
  await untilOnline(scene.db, scene.id);
  const insert = (jid: string) =>
    scene.db.rows('insert into xmpp_directed_presences (account_id, jid) values ($1, $2)', [
      scene.id,
      jid,
    ]);
  const to = (jid: string) => session.next(({ element: { attrs } }) => attrs.to === jid);
  await insert('Bot@fake.test');
  await to('bot@fake.test');
  await scene.db.until("select from xmpp_directed_presences where state = 'sent'");
  session.send(
    `<presence from='bot@fake.test' type='error'><error type='cancel'>` +
      `<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>`,
  );
  await scene.db.until(
    "select from xmpp_directed_presences where state = 'failed' and state_info = 'not taken: forbidden'",
  );
  await insert('other@fake.test');
  await to('other@fake.test');
  await scene.db.until("select from xmpp_directed_presences where state = 'sent'");
  assert.equal(
    session.stanzas.filter(({ element: { attrs } }) => attrs.to === 'bot@fake.test').length,
    1,
  );
  await scene.db.rows("update xmpp_directed_presences set status = 'again' where jid like 'Bot%'");
  await to('bot@fake.test');
});

test('a stream that goes on keeps its rows; who stays away loses them, and gets them back with it', async () => {
  await using scene = await open();
  await using _daemon = await startDaemon(scene.db.address);
  const session = await scene.server.waitForSession(1);
  await untilOnline(scene.db, scene.id);
  session.send(from('bob@fake.test/a') + from('carol@fake.test/b'));
  await scene.db.until('select from xmpp_presences where jid like $1', ['carol%']);
  session.reset();
  const second = await scene.server.waitForSession(2);
  await untilOnline(scene.db, scene.id);
  assert.deepEqual(await scene.jids(), ['bob@fake.test/a', 'carol@fake.test/b']);
  scene.server.change({ silentAt: 'header' });
  second.send(from('dave@fake.test/c'));
  await scene.db.until('select from xmpp_presences where jid like $1', ['dave%']);
  second.reset();
  await scene.db.until('select where not exists (select from xmpp_presences)', [], 20_000);
  // The server has kept it for the stream.
  second.send(from('bob@fake.test/a', " type='unavailable'"));
  scene.server.change({ silentAt: null });
  await scene.server.waitForSession(3, 20_000);
  await untilOnline(scene.db, scene.id);
  await scene.db.until("select from xmpp_presences where jid = 'carol@fake.test/b'");
  assert.deepEqual(await scene.jids(), ['carol@fake.test/b', 'dave@fake.test/c']);
});

test('what a killed daemon has left goes when the next one starts', async () => {
  await using scene = await open();
  {
    await using daemon = spawnDaemon(scene.db.address);
    const session = await scene.server.waitForSession(1, 20_000);
    await untilOnline(scene.db, scene.id);
    session.send(from('bob@fake.test/a'));
    await scene.db.until('select from xmpp_presences');
    daemon.kill('SIGKILL');
    await daemon.ended;
  }
  assert.deepEqual(await scene.jids(), ['bob@fake.test/a']);
  await scene.db.rows('update xmpp_accounts set enabled = false');
  await using _daemon = await startDaemon(scene.db.address);
  await scene.db.until('select where not exists (select from xmpp_presences)', [], 40_000);
});
