/** Components beside real servers: how rows make them come, change and go, and what they bear. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Component, Service } from '../../src/components/component.ts';
import { RejectError } from '../../src/errors.ts';
import { startComponentDaemon } from '../support/componentDaemon.ts';
import {
  DOMAIN,
  describeEachServer,
  OTHER,
  SECRETS,
  startProsodyIn,
  startProxy,
  withComponentScene,
} from '../support/componentScene.ts';
import { spawnDaemon } from '../support/daemon.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { insertInto, PROSODY } from '../support/scene.ts';

const DISCO = 'http://jabber.org/protocol/disco#info';

describeEachServer('components', (start) => {
  test('a row makes a component that answers, one answer for each request', () =>
    withComponentScene(start, async ({ db, alice, insert, untilState }) => {
      await using _daemon = await startComponentDaemon(db.address);
      await db.until('select from rowgram_shards where daemon_id > 0 having count(*) = 64');
      const insertedAt = Date.now();
      const id = await insert(DOMAIN, { domain: 'Proxy.LOCALHOST' });
      const { state_info } = await untilState(id, 'online');
      assert.ok(Date.now() - insertedAt < 1_000);
      assert.match(state_info, /^127\.0\.0\.1:\d+, in clear$/);
      const ask = (asked: string, payload: string, type = 'get') =>
        alice.iq(`<iq type='${type}' id='${asked}' to='${DOMAIN}'>${payload}</iq>`);
      const info = (await ask('i', `<query xmlns='${DISCO}'/>`)).element.find('query', DISCO);
      assert.equal(info?.find('identity')?.attrs.name, 'A proxy');
      const version = await ask('v', "<query xmlns='jabber:iq:version'/>");
      assert.equal(version.element.find('query')?.find('version')?.text, 'test');
      for (const type of ['get', 'set']) {
        const { element } = await ask(`u-${type}`, "<q xmlns='urn:unknown'/>", type);
        assert.ok(element.find('error')?.find('service-unavailable'), type);
      }
      const vcard = await ask('c', "<vCard xmlns='vcard-temp'/>");
      assert.ok(vcard.element.find('error')?.find('service-unavailable'));
      alice.send(`<message id='m' to='nobody@${DOMAIN}'><body>hi</body></message>`);
      alice.send(`<presence to='${DOMAIN}'/><message type='error' id='e' to='${DOMAIN}'/>`);
      await alice.next(({ element }) => element.attrs.id === 'm');
      await ask('last', "<ping xmlns='urn:xmpp:ping'/>");
      for (const asked of ['i', 'v', 'u-get', 'u-set', 'c', 'm', 'last']) {
        const answers = alice.stanzas.filter(({ element }) => element.attrs.id === asked);
        assert.equal(answers.length, 1, asked);
      }
      const others = alice.stanzas.filter(({ element }) => element.attrs.id === 'e');
      assert.equal(others.length, 0);
    }));

  test('a row changes its component and no other, and takes it away', () =>
    withComponentScene(start, async ({ db, insert, untilState, ping }) => {
      await using _daemon = await startComponentDaemon(db.address);
      const id = await insert(DOMAIN);
      await untilState(id, 'online');
      const giveUpAt = Date.now() + 5_000;
      const change = 'update xmpp_components set domain = $2, secret = $3 where id = $1';
      await db.rows(change, [id, OTHER, SECRETS[OTHER]]);
      while ((await ping(OTHER)) !== 'pong') assert.ok(Date.now() < giveUpAt);
      assert.notEqual(await ping(DOMAIN), 'pong');
      const back = await insert(DOMAIN);
      const { state_changed_at: since } = await untilState(id, 'online');
      await untilState(back, 'online');
      await db.rows('update xmpp_components set enabled = false where id = $1', [back]);
      await untilState(back, 'off');
      assert.notEqual(await ping(DOMAIN), 'pong');
      await db.rows('update xmpp_components set enabled = true where id = $1', [back]);
      await untilState(back, 'online');
      await db.rows('delete from xmpp_components where id = $1', [back]);
      const goneBy = Date.now() + 2_000;
      while ((await ping(DOMAIN)) === 'pong') assert.ok(Date.now() < goneBy);
      assert.equal(await ping(OTHER), 'pong');
      assert.deepEqual((await untilState(id, 'online')).state_changed_at, since);
    }));

  test('a wrong secret is refused in words, and tried again only with another', () =>
    withComponentScene(start, async ({ server, db, insert, untilState }) => {
      await using proxy = await startProxy(server);
      await using _daemon = await startComponentDaemon(db.address);
      const id = await insert(DOMAIN, { secret: 'wrong', srv_port: proxy.port });
      const { state_info, next_try_at } = await untilState(id, 'refused');
      assert.match(state_info, /^the server refused proxy\.localhost with this secret: not-auth/);
      assert.equal(next_try_at, null);
      // Each change of the table is a sync, which tells of every row.
      for (let count = 0; count < 5; count += 1) {
        await db.rows(
          "insert into xmpp_components (domain, gateway, secret, enabled) values ($1, 'bytestreams', '', false)",
          [`d${count}.localhost`],
        );
      }
      const other = await insert(OTHER);
      await untilState(other, 'online');
      assert.equal(proxy.counts().connections, 1);
      process.env.ROWGRAM_TEST_SECRET = SECRETS[DOMAIN];
      const change = 'update xmpp_components set secret = $2 where id = $1';
      await db.rows(change, [id, 'env:ROWGRAM_TEST_NOTHING']);
      await db.until('select from xmpp_components where state_info like $1', [
        'secret names the environment variable ROWGRAM_TEST_NOTHING, which is not set',
      ]);
      await db.rows(change, [id, 'env:ROWGRAM_TEST_SECRET']);
      await untilState(id, 'online');
    }));

  test('a domain that the server does not know, or that is none, is said to be so', () =>
    withComponentScene(start, async ({ db, insert, untilState }) => {
      await using _daemon = await startComponentDaemon(db.address);
      const unknown = await insert(DOMAIN, { domain: 'unknown.localhost' });
      const { state_info } = await untilState(unknown, 'refused');
      // ejabberd makes no difference to a wrong secret.
      assert.match(state_info, /unknown\.localhost.*: (host-unknown|not-authorized)/);
      const broken = await insert(DOMAIN, { domain: 'a..b' });
      assert.match((await untilState(broken, 'refused')).state_info, /^'a\.\.b' is no domain$/);
    }));

  test('a restart of the server is an outage', () =>
    withComponentScene(start, async ({ server, db, insert, untilState }) => {
      await using _daemon = await startComponentDaemon(db.address);
      const id = await insert(DOMAIN);
      await untilState(id, 'online');
      server.kill('SIGKILL');
      const { next_try_at } = await untilState(id, 'backoff');
      assert.ok(next_try_at);
      await server.restart();
      await untilState(id, 'online');
    }));

  test('a silent connection is pinged, and left when nothing comes back', () =>
    withComponentScene(start, async ({ server, db, insert, untilState, ping }) => {
      await using proxy = await startProxy(server);
      await using _daemon = await startComponentDaemon(db.address);
      const id = await insert(DOMAIN, { srv_port: proxy.port });
      await untilState(id, 'online');
      const { toServerBytes, toClientBytes } = proxy.counts();
      while (proxy.counts().toClientBytes === toClientBytes) {
        await new Promise((done) => setTimeout(done, 20));
      }
      assert.ok(proxy.counts().toServerBytes > toServerBytes);
      assert.equal(proxy.counts().connections, 1);
      proxy.blackhole('drop');
      const { state_info } = await untilState(id, 'backoff');
      assert.match(state_info, /has not answered for/);
      proxy.blackhole('off');
      // The server may have another connection yet, for all it knows.
      proxy.reset();
      await untilState(id, 'online');
      assert.equal(await ping(DOMAIN), 'pong');
    }));

  test('another daemon takes over when one is killed', () =>
    withComponentScene(start, async ({ db, insert, untilState, ping }) => {
      await using first = spawnDaemon(db.address, {}, new URL('./daemon.ts', import.meta.url));
      const id = await insert(DOMAIN);
      await untilState(id, 'online');
      await using _second = await startComponentDaemon(db.address);
      await db.until('select from rowgram_daemons having count(*) = 2');
      first.kill('SIGKILL');
      await first.ended;
      const giveUpAt = Date.now() + 10_000;
      while ((await ping(DOMAIN)) !== 'pong') assert.ok(Date.now() < giveUpAt);
      await untilState(id, 'online');
    }));

  test('a gateway hears of the stream, takes stanzas, asks, and says last words', () =>
    withComponentScene(start, async ({ db, alice, insert, untilState }) => {
      const heard: string[] = [];
      const components: Component[] = [];
      const serve = (component: Component): Partial<Service> => {
        components.push(component);
        return {
          onOnline: () => heard.push('online'),
          onOffline: () => heard.push('offline'),
          receive(stanza) {
            if (stanza.getChild('broken')) throw new TypeError('a bug');
            if (stanza.name !== 'message') return null;
            heard.push(stanza.getChildText('body') ?? '');
            return 'taken';
          },
          async close() {
            heard.push('close');
            component.send(
              `<message from='${DOMAIN}' to='${alice.jid}'><body>bye</body></message>`,
            );
          },
        };
      };
      await using _daemon = await startComponentDaemon(db.address, serve);
      const id = await insert(DOMAIN);
      await untilState(id, 'online');
      alice.send(`<message to='x@${DOMAIN}/ä'><body>hello</body></message>`);
      const broken = await alice.iq(
        `<iq type='get' id='b' to='${DOMAIN}'><broken xmlns='urn:b'/></iq>`,
      );
      assert.ok(broken.element.find('error')?.find('internal-server-error'));
      const [proxy] = components;
      assert.ok(proxy);
      assert.ok(proxy.isOnline());
      const question = { type: 'get', payload: `<query xmlns='${DISCO}'/>` } as const;
      const info = await proxy.request({ ...question, to: 'localhost' });
      const identities = info.getChild('query')?.getChildren('identity');
      assert.ok(identities?.some(({ attrs }) => attrs.category === 'server'));
      const ping = { type: 'get', payload: "<ping xmlns='urn:xmpp:ping'/>" } as const;
      await proxy.request({ ...ping, to: DOMAIN });
      await assert.rejects(
        proxy.request({ ...question, from: `x@${DOMAIN}`, to: 'nobody@localhost/r' }),
        RejectError,
      );
      await db.rows('delete from xmpp_components');
      await alice.next(({ element }) => element.find('body')?.text === 'bye');
      while (heard.length < 4) await new Promise((done) => setTimeout(done, 5));
      assert.deepEqual(heard, ['online', 'hello', 'close', 'offline']);
      assert.equal(proxy.send('<message/>'), false);
      await assert.rejects(proxy.request({ ...question, to: 'localhost' }), /is not online/);
    }));
});

test(
  'a domain that another connection has is a conflict, until it is free (Prosody)',
  {
    skip: PROSODY.skip,
  },
  () =>
    withComponentScene(startProsodyIn, async ({ db, insert, untilState }) => {
      await using strangerDb = await testDatabase();
      const stranger = await startComponentDaemon(strangerDb.address);
      await using _daemon = await startComponentDaemon(db.address);
      const id = await insert(DOMAIN, { enabled: false });
      await insertInto(strangerDb, 'xmpp_components', await columnsOf(db, id));
      await strangerDb.until("select from xmpp_components where state = 'online'");
      await db.rows('update xmpp_components set enabled = true');
      const { state_info, next_try_at } = await untilState(id, 'conflict');
      assert.match(state_info, /^another connection has the domain proxy\.localhost: conflict/);
      assert.ok(next_try_at);
      await stranger.stop();
      await untilState(id, 'online');
    }),
);

/** The desired columns of a row, enabled. */
const columnsOf = async (db: TestDatabase, id: number): Promise<Record<string, unknown>> => {
  const text = 'select domain, gateway, secret, srv_port from xmpp_components where id = $1';
  const [row] = await db.rows<Record<string, unknown>>(text, [id]);
  assert.ok(row);
  return row;
};
