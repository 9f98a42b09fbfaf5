/** What rows of xmpp_components make of their streams, where no real server would hold still for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Component, Service } from '../../src/components/component.ts';
import {
  type FakeComponentServer,
  type FakeComponentStream,
  startFakeComponentServer,
} from '../peers/fakeComponentServer.ts';
import { startComponentDaemon } from '../support/componentDaemon.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { insertInto } from '../support/scene.ts';

const insert = (db: TestDatabase, server: FakeComponentServer, domain: string): Promise<number> =>
  insertInto(db, 'xmpp_components', {
    ...{ domain, gateway: 'bytestreams', secret: 'secret' },
    srv_port: server.port,
  });

const untilState = (db: TestDatabase, id: number, state: string) =>
  db.until<{ state_info: string | null; next_try_at: Date | null }>(
    'select * from xmpp_components where id = $1 and state = $2',
    [id, state],
  );

const openDomains = (server: FakeComponentServer): (string | null)[] =>
  server.streams
    .filter(({ isEstablished, isOpen }) => isEstablished && isOpen)
    .map(({ domain }) => domain)
    .sort();

const until = async (isTrue: () => boolean): Promise<void> => {
  const giveUpAt = Date.now() + 5_000;
  for (; !isTrue(); await delay(5)) assert.ok(Date.now() < giveUpAt, 'not in time');
};

/** Runs `work` with the components of these domains online. */
const withComponents = async (
  domains: string[],
  work: (scene: {
    db: TestDatabase;
    server: FakeComponentServer;
    ids: number[];
    streams: FakeComponentStream[];
  }) => Promise<void>,
  serve?: (component: Component) => Partial<Service>,
): Promise<void> => {
  await using db = await testDatabase();
  await using server = await startFakeComponentServer();
  await using _daemon = await startComponentDaemon(db.address, serve);
  const ids: number[] = [];
  for (const domain of domains) ids.push(await insert(db, server, domain));
  for (const id of ids) await untilState(db, id, 'online');
  await work({ db, server, ids, streams: [...server.streams] });
};

test('rows that swap their domains swap their streams', () =>
  withComponents(['a.test', 'b.test', 'c.test'], async ({ db, server, ids: [a, b], streams }) => {
    await db.rows(`
      begin;
      update xmpp_components set domain = 'x.test' where domain = 'a.test';
      update xmpp_components set domain = 'a.test' where domain = 'b.test';
      update xmpp_components set domain = 'b.test' where domain = 'x.test';
      commit`);
    await until(() => server.streams.length === 5);
    await until(() => openDomains(server).join() === 'a.test,b.test,c.test');
    for (const id of [a, b]) await untilState(db, id ?? 0, 'online');
    assert.deepEqual(
      streams.map(({ isOpen }) => isOpen),
      [false, false, true],
    );
  }));

test('a row of another gateway is left to that one, with its state', () =>
  withComponents(['a.test', 'b.test'], async ({ db, server, ids: [a, b] }) => {
    await db.rows("update xmpp_components set gateway = 'muc', state = 'off' where id = $1", [a]);
    await until(() => openDomains(server).join() === 'b.test');
    await db.rows("update xmpp_components set state_info = 'mine' where id = $1", [a]);
    await db.rows('update xmpp_components set enabled = false where id = $1', [b]);
    assert.equal((await untilState(db, b ?? 0, 'off')).state_info, null);
    assert.equal((await untilState(db, a ?? 0, 'off')).state_info, 'mine');
  }));

test('TRUNCATE takes all away', () =>
  withComponents(['a.test', 'b.test'], async ({ db, server }) => {
    await db.rows('truncate xmpp_components');
    await until(() => openDomains(server).length === 0);
  }));

test('a row that names no domain alone, or the same one in capitals, is not taken', () =>
  withComponents(['a.test'], async ({ db, server }) => {
    for (const domain of ['', 'u@a.test', 'a.test/r', 'a b']) {
      await assert.rejects(insert(db, server, domain), /xmpp_components_domain_check/);
    }
    await assert.rejects(insert(db, server, 'A.Test'), /xmpp_components_domain_idx/);
  }));

test('tries go apart while the server ends each stream', () =>
  withComponents([], async ({ db, server }) => {
    server.change({ refusal: 'internal-server-error' });
    const id = await insert(db, server, 'a.test');
    const { state_info, next_try_at } = await untilState(db, id, 'backoff');
    assert.equal(state_info, 'the server ended the stream: internal-server-error');
    assert.ok(next_try_at);
    await delay(2_500);
    // After 0.5, 1 and 2 s, or half of it.
    assert.ok(server.streams.length <= 4, `${server.streams.length} tries`);
    server.change({ refusal: null });
    await untilState(db, id, 'online');
  }));

test('a domain that somebody takes away is told, and tried again', () =>
  withComponents(['a.test'], async ({ db, ids: [id = 0], streams: [stream] }) => {
    stream?.streamError('conflict', 'replaced');
    const { state_info, next_try_at } = await untilState(db, id, 'conflict');
    assert.equal(state_info, 'another connection has the domain a.test: conflict (replaced)');
    assert.ok(next_try_at);
    await untilState(db, id, 'online');
  }));

test('what is for another domain gets no answer from here', () =>
  withComponents(['a.test'], async ({ streams: [stream] }) => {
    assert.ok(stream);
    const ask = (id: string, to: string) =>
      `<iq type='get' id='${id}' from='u@b' to='${to}'><ping xmlns='urn:xmpp:ping'/></iq>`;
    stream.write(ask('1', 'b.test') + ask('2', 'u@b.test/a.test') + ask('3', 'u@A.TEST/\u{fe0f}'));
    const { element } = await stream.next(({ element: { attrs } }) => attrs.to === 'u@b');
    assert.equal(element.attrs.id, '3');
  }));

test('senders that are malformed or missing harm nobody', () =>
  withComponents(['a.test'], async ({ server, streams: [stream] }) => {
    assert.ok(stream);
    for (const from of ["from='@'", "from='a@@b/c'", "from=''", '', "from='\u{1f600}'"]) {
      for (const name of ['iq', 'message', 'presence']) {
        stream.write(`<${name} type='get' id='1' to='a.test' ${from}><q xmlns='urn:q'/></${name}>`);
      }
    }
    stream.write(
      "<iq type='get' id='end' from='u@b' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>",
    );
    await stream.next(({ element: { attrs } }) => attrs.id === 'end');
    assert.equal(server.streams.length, 1);
    assert.ok(stream.isOpen);
  }));

test('a bug in a service costs a stanza or its component, not the process', () => {
  const fail = () => {
    throw new TypeError('a bug');
  };
  const serve = ({ domain }: Component): Partial<Service> => {
    if (domain === 'unserved.test') return fail();
    return { describe: fail, onOffline: fail, close: fail };
  };
  const work: Parameters<typeof withComponents>[1] = async ({ db, server, ids: [id], streams }) => {
    await insert(db, server, 'unserved.test');
    const info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    streams[0]?.write(`<iq type='get' id='1' from='u@b' to='a.test'>${info}</iq>`);
    const answer = await streams[0]?.next(({ element: { attrs } }) => attrs.to === 'u@b');
    assert.ok(answer?.element.find('error')?.find('internal-server-error'));
    streams[0]?.reset();
    const stream = await server.waitForStream(2);
    await untilState(db, id ?? 0, 'online');
    await db.rows('delete from xmpp_components where id = $1', [id]);
    await stream.closed;
  };
  return withComponents(['a.test'], work, serve);
});
