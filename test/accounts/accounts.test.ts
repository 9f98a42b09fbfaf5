/** Accounts are administered by rows, live, and none disturbs another. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startFakeServer } from '../peers/fakeServer.ts';
import type { RawClient } from '../peers/rawClient.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import { startDaemon } from '../support/daemon.ts';
import { testDatabase } from '../support/database.ts';
import {
  createScene,
  describeEach,
  insertInto,
  PASSWORD,
  type Peer,
  type Scene,
  untilOnline,
} from '../support/scene.ts';

const fixture = (name: string): string =>
  readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8');

const holdAccounts = (peer: Peer) => {
  let scene: Scene;
  let neighbour: number;
  let stream: unknown;
  const selectStream = async (id: number): Promise<unknown> =>
    (
      await scene.db.rows('select sm_id, full_jid from xmpp_streams where account_id = $1', [id])
    )[0];
  before(async () => {
    scene = await createScene(peer);
    neighbour = await scene.addAccount('neighbour');
    stream = await selectStream(neighbour);
    assert.ok(stream);
  });
  after(() => scene?.close());
  // Whatever a test does to its account, the neighbour's session goes on.
  afterEach(async () => {
    assert.deepEqual(await selectStream(neighbour), stream);
    const [row] = await scene.db.rows('select state from xmpp_accounts where id = $1', [neighbour]);
    assert.equal(row?.state, 'online');
  });

  const set = (id: number, column: string, value: unknown) =>
    scene.db.rows(`update xmpp_accounts set ${column} = $2 where id = $1`, [id, value]);
  const untilState = (id: number, state: string, info = '') =>
    scene.db.until('select from xmpp_accounts where id = $1 and state = $2 and state_info ~ $3', [
      id,
      state,
      info,
    ]);
  /** The next presence that the account's own session shows to a client. */
  const nextPresence = (client: RawClient, name: string, type?: string) =>
    client.next(
      ({ element: { name: kind, attrs } }) =>
        kind === 'presence' &&
        attrs.from === `${name}@${scene.server.domain}/rowgram` &&
        attrs.type === type,
    );

  test('insert, disable, enable and delete are seen by others', async () => {
    const watcher = await scene.addClient('live', { resource: 'watcher' });
    const id = await scene.addAccount('live');
    await nextPresence(watcher, 'live');
    const [row] = await scene.db.rows('select full_jid from xmpp_accounts where id = $1', [id]);
    assert.equal(row?.full_jid, `live@${scene.server.domain}/rowgram`);
    await set(id, 'enabled', false);
    await nextPresence(watcher, 'live', 'unavailable');
    await scene.db.until(
      "select from xmpp_accounts where id = $1 and state = 'off' and full_jid is null",
      [id],
    );
    await set(id, 'enabled', true);
    await nextPresence(watcher, 'live');
    await scene.db.rows('delete from xmpp_accounts where id = $1', [id]);
    await nextPresence(watcher, 'live', 'unavailable');
  });

  test('show, status and priority change without a new session', async () => {
    const watcher = await scene.addClient('shown', { resource: 'watcher' });
    const id = await scene.addAccount('shown', { show: 'dnd', status: 'at <work>', priority: 5 });
    const first = (await nextPresence(watcher, 'shown')).element;
    const texts = ['show', 'status', 'priority'].map((name) => first.find(name)?.text);
    assert.deepEqual(texts, ['dnd', 'at <work>', '5']);
    const before = await selectStream(id);
    await set(id, 'show', null);
    assert.equal((await nextPresence(watcher, 'shown')).element.find('show'), null);
    await set(id, 'status', 'neu');
    assert.equal((await nextPresence(watcher, 'shown')).element.find('status')?.text, 'neu');
    await set(id, 'priority', null);
    await nextPresence(watcher, 'shown', 'unavailable');
    await set(id, 'priority', -1);
    assert.equal((await nextPresence(watcher, 'shown')).element.find('priority')?.text, '-1');
    assert.deepEqual(await selectStream(id), before);
  });

  test('without a priority there is no presence, and rows go all the same', async () => {
    const watcher = await scene.addClient('silent', { resource: 'watcher' });
    const account_id = await scene.addAccount('silent', { priority: null });
    const row = await scene.insert({ account_id, message_to: watcher.jid, message_body: 'silent' });
    await watcher.next(({ element }) => element.find('body')?.text === 'silent');
    await scene.untilState(row, 'submitted');
    const seen = watcher.stanzas.filter(
      ({ element: { name, attrs } }) => name === 'presence' && attrs.from?.endsWith('/rowgram'),
    );
    assert.deepEqual(seen, []);
  });

  test('a status or a resource that XML cannot carry is a reason, and its correction helps', async () => {
    for (const column of ['status', 'resource']) {
      const id = await scene.addAccount(`bad-${column}`);
      await set(id, column, 'a\u0001');
      await untilState(id, 'refused', column);
      await set(id, column, 'good');
      await untilOnline(scene.db, id);
    }
    const id = await scene.addAccount('malformed', { enabled: false, acc_jid: 'a b@@c' });
    await set(id, 'enabled', true);
    await untilState(id, 'refused');
    await scene.db.rows('delete from xmpp_accounts where id = $1', [id]);
  });

  test('a wrong password is refused with its reason, and the right one helps at once', async () => {
    const id = await scene.addAccount('password');
    await set(id, 'acc_pass', 'wrong');
    await untilState(id, 'refused', 'login refused: not-authorized');
    const columns = { account_id: id, message_to: 'x@localhost', message_body: 'waits' };
    const row = await scene.insert(columns);
    await scene.db.until(
      "select from xmpp_tx_queue where id = $1 and state = 'queued' and submission_info like '%is refused%'",
      [row],
    );
    await set(id, 'acc_pass', PASSWORD);
    await untilOnline(scene.db, id);
    await scene.db.until('select from xmpp_tx_queue where id = $1 and settled', [row]);
  });

  test('another host is connected to at once', async () => {
    const id = await scene.addAccount('moving');
    const before = await selectStream(id);
    await set(id, 'srv_port', 1);
    await untilState(id, 'backoff', 'refused');
    await set(id, 'srv_port', scene.server.port);
    await untilOnline(scene.db, id);
    assert.notDeepEqual(await selectStream(id), before);
  });

  test('many changes at once end in one session', async () => {
    const id = await scene.addAccount('hasty');
    const watcher = await scene.addClient('hasty', { resource: 'watcher' });
    for (let n = 0; n < 20; n += 1) await set(id, 'resource', `r${n}`);
    const full = `hasty@${scene.server.domain}/r19`;
    await scene.db.until("select from xmpp_accounts where full_jid = $1 and state = 'online'", [
      full,
    ]);
    const available = new Set<string>();
    for (const { element } of watcher.stanzas) {
      const { from = '', type } = element.attrs;
      if (element.name !== 'presence') continue;
      if (type === undefined) available.add(from);
      else available.delete(from);
    }
    assert.ok(available.delete(watcher.jid));
    assert.deepEqual([...available], [full]);
  });

  test('requests for a subscription are answered by policy', async () => {
    const id = await scene.addAccount('popular', { subscription_policy: 'accept' });
    const to = `popular@${scene.server.domain}`;
    const ask = async (name: string) => {
      const client = await scene.addClient(name);
      // Who has asked for the roster is told of its changes (RFC 6121 §2.1.6).
      await client.iq("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
      client.send(`<presence to='${to}' type='subscribe'/>`);
      await client.next(isEntry('none', 'subscribe'));
      return client;
    };
    const isEntry =
      (subscription: string, pending?: string) =>
      ({ element }: Stanza): boolean => {
        const { attrs } = element.find('query', 'jabber:iq:roster')?.find('item') ?? element;
        const { jid, ask: asked, subscription: agreed } = attrs;
        return jid === to && agreed === subscription && asked === pending;
      };
    await (await ask('fan')).next(isEntry('to'));
    await set(id, 'subscription_policy', 'reject');
    await delay(100);
    const spammer = await ask('spammer');
    await spammer.next(isEntry('none'));
    await set(id, 'subscription_policy', 'ask');
    await delay(100);
    const stranger = await ask('stranger');
    stranger.send(`<message to='${to}' type='chat'><body>I asked</body></message>`);
    await scene.db.until("select from xmpp_rx_queue where message_body = 'I asked'");
    await stranger.iq(`<iq type='get' id='p' to='${to}'><query xmlns='urn:test'/></iq>`);
    const answers = stranger.stanzas.filter(
      (stanza) => isEntry('to')(stanza) || isEntry('none')(stanza),
    );
    assert.deepEqual(answers, []);
  });

  test('a client that takes the resource is left in peace, and the row says so', async () => {
    const id = await scene.addAccount('rival');
    const rival = await scene.addClient('rival', { resource: 'rowgram' });
    await untilState(id, 'conflict', 'conflict');
    const ping = `<iq type='get' id='p' to='${scene.server.domain}'><ping xmlns='urn:xmpp:ping'/></iq>`;
    assert.equal((await rival.iq(ping)).element.attrs.type, 'result');
    await set(id, 'resource', 'elsewhere');
    await untilOnline(scene.db, id);
  });

  test('a password may stand in a file or in the environment', async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'password-'));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const path = join(dir, 'password');
    process.env.ROWGRAM_TEST_PASSWORD = PASSWORD;
    const id = await scene.addAccount('secretive', { acc_pass: 'env:ROWGRAM_TEST_PASSWORD' });
    await set(id, 'acc_pass', `file:${path}`);
    await untilState(id, 'refused', 'cannot be read');
    await writeFile(path, `${PASSWORD}\n`);
    await set(id, 'enabled', false);
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'off'", [id]);
    await set(id, 'enabled', true);
    await untilOnline(scene.db, id);
    await set(id, 'acc_pass', 'env:ROWGRAM_TEST_NO_PASSWORD');
    await untilState(id, 'refused', 'ROWGRAM_TEST_NO_PASSWORD, which is not set');
  });
};

describeEach('accounts', holdAccounts);

describeEach('TLS', (peer) => {
  let scene: Scene;
  before(async () => {
    const tls = { cert: fixture('valid.pem'), key: fixture('server.key') };
    scene = await createScene(peer, { domain: 'example.test', tls });
  });
  after(() => scene?.close());
  const untilInfo = (id: number, state: string, info: string) =>
    scene.db.until('select from xmpp_accounts where id = $1 and state = $2 and state_info ~ $3', [
      id,
      state,
      info,
    ]);

  test('STARTTLS needs a certificate that its authority signed', async () => {
    const columns = { tls: 'starttls', tls_ca: fixture('ca.pem') };
    const id = await scene.addAccount('tls', columns);
    await untilInfo(id, 'online', 'STARTTLS');
    const set = (column: string, value: unknown) =>
      scene.db.rows(`update xmpp_accounts set ${column} = $2 where id = $1`, [id, value]);
    await set('tls_ca', null);
    await untilInfo(id, 'refused', 'the certificate of 127.0.0.1:');
    await set('tls_ca', 'no certificate');
    await untilInfo(id, 'refused', 'is not a certificate in PEM');
    await set('tls', 'direct');
    await set('tls_ca', fixture('ca.pem'));
    await untilInfo(id, 'refused', 'does not speak TLS from the first byte');
    await set('tls', 'auto');
    await untilInfo(id, 'online', 'STARTTLS');
    await set('tls', 'none');
    await untilInfo(id, 'online', 'in clear');
  });
});

test('a refused password is tried once, and again only when the row changes', async (t) => {
  await using db = await testDatabase();
  await using _daemon = await startDaemon(db.address);
  const server = await startFakeServer();
  t.after(() => server.stop());
  const countTries = () =>
    server.sessions.filter(({ state: { name } }) => name === 'rowgram').length;
  const account = (acc_jid: string, acc_pass: string) => ({
    enabled: true,
    acc_jid,
    acc_pass,
    srv_host: server.host,
    srv_port: server.port,
  });
  const id = await insertInto(db, 'xmpp_accounts', account('rowgram@fake.test', 'wrong'));
  await db.until("select from xmpp_accounts where id = $1 and state = 'refused'", [id]);
  // Other accounts make the daemon read them all.
  for (const name of ['one', 'two']) {
    await untilOnline(
      db,
      await insertInto(db, 'xmpp_accounts', account(`${name}@fake.test`, 'secret')),
    );
  }
  // Longer than the first back-off.
  await delay(600);
  assert.equal(countTries(), 1);
  await db.rows("update xmpp_accounts set acc_pass = 'secret' where id = $1", [id]);
  await untilOnline(db, id);
  assert.equal(countTries(), 2);
});
