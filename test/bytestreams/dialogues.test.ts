/** What clients of real servers get of the proxy, request by request. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  encodeConnect,
  GREETING,
  openSocket,
  readAll,
  readBytes,
  untilClosed,
} from '../peers/socks5Client.ts';
import { createProxyScene, errorOf, NS, PROXY, type ProxyScene } from '../support/proxyScene.ts';
import { describeEach } from '../support/scene.ts';

type LogRow = { bytes_up: number; bytes_down: number; reason: string; requester: string };

const ITEMS = 'http://jabber.org/protocol/disco#items';

const sha = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex');

describeEach('bytestreams', (peer) => {
  let scene: ProxyScene;
  let sids = 0;
  const newSid = () => {
    sids += 1;
    return `sid${sids}`;
  };
  const untilLogged = (sid: string) =>
    scene.db.until<LogRow>('select * from bytestream_log where sid = $1', [sid]);
  const refuse = async (text: string, values: unknown[], work: () => Promise<void>) => {
    const [row] = await scene.db.rows<{ id: number }>(`${text} returning id`, values);
    // Until the daemon has heard of it.
    await delay(100);
    await work();
    await scene.db.rows(`delete from ${text.split(' ')[2]} where id = $1`, [row?.id]);
    await delay(100);
  };

  before(async () => {
    scene = await createProxyScene(peer, { idle_timeout_s: 5, pending_timeout_s: 3 });
  });
  after(() => scene?.close());

  test('it is a proxy, and what it does not know it refuses (XEP-0065 §6.1)', async () => {
    const ask = (type: string, payload: string) =>
      scene.requester.iq(`<iq type='${type}' id='${newSid()}' to='${PROXY}'>${payload}</iq>`);
    const info = await ask('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>");
    const query = info.element.find('query');
    assert.deepEqual(
      [query?.find('identity')?.attrs.category, query?.find('identity')?.attrs.type],
      ['proxy', 'bytestreams'],
    );
    assert.ok(query?.children.some(({ attrs }) => attrs.var === NS));
    const ping = await ask('get', "<ping xmlns='urn:xmpp:ping'/>");
    assert.equal(ping.element.attrs.type, 'result');
    const unknown = await ask('get', "<query xmlns='urn:example:unknown'/>");
    assert.equal(errorOf(unknown), 'service-unavailable');
    assert.equal(errorOf(await ask('get', "<vCard xmlns='vcard-temp'/>")), 'service-unavailable');
    assert.equal((await ask('get', `<query xmlns='${ITEMS}'/>`)).element.attrs.type, 'result');
  });

  test('the address is told in one streamhost', async () => {
    const { element } = await scene.query(scene.requester);
    const hosts = element.find('query', NS)?.children ?? [];
    assert.deepEqual(
      hosts.map(({ name, attrs }) => ({ name, ...attrs })),
      [{ name: 'streamhost', jid: PROXY, host: '127.0.0.1', port: `${scene.port}` }],
    );
  });

  test('both ends are joined, and the log has every byte of both directions', async () => {
    const sid = newSid();
    const { requester, target } = await scene.open(sid);
    const [up, down] = [randomBytes(3_000_001), randomBytes(500_003)];
    requester.end(up);
    target.end(down);
    const [gotUp, gotDown] = await Promise.all([readAll(target), readAll(requester)]);
    assert.deepEqual([sha(gotUp), sha(gotDown)], [sha(up), sha(down)]);
    const row = await untilLogged(sid);
    assert.equal(row.reason, 'eof');
    assert.deepEqual([row.bytes_up, row.bytes_down], [up.length, down.length]);
    assert.equal(row.requester, scene.requester.jid);
    const [usage] = await scene.db.rows<{ up: number; down: number }>(
      'select sum(bytes_up)::float8 as up, sum(bytes_down)::float8 as down from bytestream_usage',
    );
    assert.deepEqual(usage, { up: up.length, down: down.length });
  });

  test('an end may be done before the other answers', async () => {
    const sid = newSid();
    const { requester, target } = await scene.open(sid);
    requester.end('question');
    assert.equal((await readAll(target)).toString(), 'question');
    target.end('answer');
    assert.equal((await readAll(requester)).toString(), 'answer');
    assert.equal((await untilLogged(sid)).reason, 'eof');
  });

  test('requests that are not whole, or for nothing that is here, are told so', async () => {
    const sid = newSid();
    const set = (query: string) =>
      scene.requester.iq(`<iq type='set' id='${newSid()}' to='${PROXY}'>${query}</iq>`);
    assert.equal(errorOf(await scene.activate(sid)), 'item-not-found');
    assert.equal(errorOf(await set(`<query xmlns='${NS}' sid='s'/>`)), 'bad-request');
    assert.equal(
      errorOf(await set(`<query xmlns='${NS}'><activate>a@b</activate></query>`)),
      'bad-request',
    );
    assert.equal(
      errorOf(await set(`<query xmlns='${NS}' sid='s'><activate>@</activate></query>`)),
      'jid-malformed',
    );
    await scene.connect(sid);
    assert.equal(errorOf(await scene.activate(sid)), 'not-allowed');
    await scene.connect(sid);
    // Another one's activation is of another hash.
    assert.equal(errorOf(await scene.activate(sid, scene.target)), 'item-not-found');
    assert.equal((await scene.activate(sid)).element.attrs.type, 'result');
    assert.equal(errorOf(await scene.activate(sid)), 'conflict');
  });

  test('a third leg is refused, before and after the activation', async () => {
    const sid = newSid();
    const [target, requester] = [await scene.connect(sid), await scene.connect(sid)];
    assert.equal((await scene.connect(sid)).code, 2);
    await scene.activate(sid);
    assert.equal((await scene.connect(sid)).code, 2);
    requester.socket.end('whole');
    assert.equal((await readAll(target.socket)).toString(), 'whole');
  });

  test('requests that are cut, joined or for something else get the reply that SOCKS5 has for them', async () => {
    const hash = randomBytes(20).toString('hex');
    const whole = Buffer.concat([GREETING, encodeConnect(hash)]);
    for (const size of [1, 20, whole.length]) {
      const socket = await openSocket(scene.port);
      socket.setNoDelay(true);
      for (let at = 0; at < whole.length; at += size) {
        socket.write(whole.subarray(at, at + size));
        await delay(1);
      }
      const reply = await readBytes(socket, 2 + whole.length - GREETING.length);
      // What was asked for is repeated (XEP-0065 §6.3.3).
      assert.deepEqual(reply, Buffer.concat([Buffer.of(5, 0, 5, 0), whole.subarray(5)]));
      socket.destroy();
      await delay(50);
    }
    const ipv4 = [127, 0, 0, 1, 0, 80];
    const refused: [request: Buffer, code: number][] = [
      [Buffer.of(5, 2, 0, 1, ...ipv4), 7],
      [Buffer.of(5, 3, 0, 1, ...ipv4), 7],
      [Buffer.of(5, 1, 0, 1, ...ipv4), 8],
      [encodeConnect('example.com'), 2],
      [Buffer.concat([encodeConnect(hash).subarray(0, -2), Buffer.of(0, 80)]), 2],
    ];
    for (const [request, code] of refused) {
      const socket = await openSocket(scene.port);
      socket.write(Buffer.concat([GREETING, request]));
      const reply = await readAll(socket);
      assert.deepEqual(reply, Buffer.concat([Buffer.of(5, 0, 5, code), request.subarray(2)]));
    }
  });

  test('when a leg that waits drops, both may come again', async () => {
    const sid = newSid();
    const [first] = [await scene.connect(sid), await scene.connect(sid)];
    first.socket.destroy();
    await delay(100);
    assert.equal(errorOf(await scene.activate(sid)), 'not-allowed');
    const { requester, target } = await scene.open(sid);
    requester.end('again');
    assert.equal((await readAll(target)).toString(), 'again');
  });

  test('what comes before the activation is kept, and a slow reader gets all though the sender is gone', async () => {
    const sid = newSid();
    const [target, requester] = [await scene.connect(sid), await scene.connect(sid)];
    const sent = randomBytes(8 * 1_048_576);
    requester.socket.end(sent);
    await delay(100);
    assert.equal((await scene.activate(sid)).element.attrs.type, 'result');
    await delay(500);
    assert.equal(sha(await readAll(target.socket)), sha(sent));
    target.socket.end();
    assert.equal((await untilLogged(sid)).bytes_up, sent.length);
  });

  test('an address with capitals is the same, whichever way the ends have hashed it', async () => {
    for (const hashed of [scene.target.jid, scene.target.jid.replace('target@', 'Target@')]) {
      const sid = newSid();
      const written = scene.target.jid.replace('target@', 'Target@');
      const [target, requester] = [
        await scene.connect(sid, hashed),
        await scene.connect(sid, hashed),
      ];
      const answer = await scene.activate(sid, scene.requester, written);
      assert.equal(answer.element.attrs.type, 'result');
      requester.socket.end('x');
      assert.equal((await readAll(target.socket)).toString(), 'x');
    }
  });

  test('who is denied is told so at the next query, and at the activation', async () => {
    const sid = newSid();
    await scene.connect(sid);
    await scene.connect(sid);
    const insert = 'insert into bytestream_acl (role, who, action) values ($1, $2, $3)';
    await refuse(insert, ['requester', 'requester@localhost', 'deny'], async () => {
      assert.equal(errorOf(await scene.query(scene.requester)), 'forbidden');
      assert.equal(errorOf(await scene.activate(sid)), 'forbidden');
      assert.equal((await scene.query(scene.target)).element.attrs.type, 'result');
    });
    await refuse(insert, ['target', '*', 'deny'], async () => {
      assert.equal((await scene.query(scene.requester)).element.attrs.type, 'result');
      assert.equal(errorOf(await scene.activate(sid)), 'forbidden');
    });
    await refuse(insert, ['ip', '127.0.0.0/8', 'deny'], async () => {
      assert.equal(errorOf(await scene.activate(sid)), 'forbidden');
      assert.equal((await scene.connect(newSid())).code, undefined);
    });
    assert.equal((await scene.activate(sid)).element.attrs.type, 'result');
  });

  test('a stream whose row is deleted ends within 500 ms, and is logged as killed', async () => {
    const sid = newSid();
    const { requester, target } = await scene.open(sid);
    requester.write('some');
    await readBytes(target, 4);
    await scene.db.until('select id from bytestream_streams where sid = $1 and bytes_up = 4', [
      sid,
    ]);
    const since = performance.now();
    await scene.db.rows('delete from bytestream_streams where sid = $1', [sid]);
    await Promise.all([untilClosed(requester), untilClosed(target)]);
    assert.ok(performance.now() - since < 500, `${performance.now() - since} ms`);
    const row = await untilLogged(sid);
    assert.deepEqual([row.reason, row.bytes_up], ['killed', 4]);
  });

  test('a quota ends a stream at its byte, and what is used up is not given again', async () => {
    const user = 'requester@localhost';
    const [{ used } = { used: 0 }] = await scene.db.rows<{ used: number }>(
      'select sum(bytes_up + bytes_down)::float8 as used from bytestream_usage where jid = $1',
      [user],
    );
    const sid = newSid();
    const insert =
      'insert into bytestream_limits (who, quota_bytes, quota_period) values ($1, $2, $3)';
    await refuse(insert, [user, used + 10_000, 'month'], async () => {
      const { requester, target } = await scene.open(sid);
      requester.write(Buffer.alloc(50_000));
      assert.equal((await readAll(target)).length, 10_000);
      target.end();
      const row = await untilLogged(sid);
      assert.deepEqual([row.reason, row.bytes_up], ['quota', 10_000]);
      await scene.connect('again');
      await scene.connect('again');
      assert.equal(errorOf(await scene.activate('again')), 'resource-constraint');
    });
  });

  test('a user has as many streams at once as are due', async () => {
    const insert = 'insert into bytestream_limits (who, max_streams) values ($1, $2)';
    // Those of other tests are in the table by then, and gone.
    await delay(1_500);
    await scene.db.rows('delete from bytestream_streams');
    await delay(500);
    const [first, second] = [newSid(), newSid()];
    await refuse(insert, ['localhost', 1], async () => {
      const { requester, target } = await scene.open(first);
      await scene.connect(second);
      await scene.connect(second);
      assert.equal(errorOf(await scene.activate(second)), 'resource-constraint');
      requester.end();
      target.end();
      await untilLogged(first);
      assert.equal((await scene.activate(second)).element.attrs.type, 'result');
    });
  });

  test('one direction that trickles outlives all timeouts, and silence does not', async () => {
    const sid = newSid();
    const { requester, target } = await scene.open(sid);
    for (let second = 0; second < 7; second += 1) {
      requester.write('x');
      await readBytes(target, 1);
      await delay(1_000);
    }
    requester.write('y');
    assert.equal((await readBytes(target, 1)).toString(), 'y');
    await Promise.all([untilClosed(requester), untilClosed(target)]);
    const row = await untilLogged(sid);
    assert.deepEqual([row.reason, row.bytes_up], ['idle', 8]);
  });

  test('a rate that is changed holds within 10 % over 10 s', { timeout: 60_000 }, async () => {
    const sid = newSid();
    const { requester, target } = await scene.open(sid);
    let got = 0;
    target.on('data', ({ length }) => {
      got += length;
    });
    const feed = () => {
      while (requester.writable && requester.write(Buffer.alloc(65_536)));
    };
    requester.on('drain', feed);
    feed();
    await scene.db.until('select id from bytestream_streams where sid = $1', [sid]);
    await scene.db.rows('update bytestream_streams set rate_limit = 500000 where sid = $1', [sid]);
    await delay(500);
    const before = got;
    await delay(10_000);
    const perSecond = (got - before) / 10;
    assert.ok(Math.abs(perSecond / 500_000 - 1) < 0.1, `${perSecond} B/s`);
    // What the kernel has taken would go on at this rate for some time.
    await scene.db.rows('delete from bytestream_streams where sid = $1', [sid]);
    assert.equal((await untilLogged(sid)).reason, 'killed');
  });

  test('a link to the server that is cut leaves what is active alone', async () => {
    const sid = newSid();
    const { requester, target } = await scene.open(sid);
    requester.write('before ');
    await readBytes(target, 7);
    await scene.server.restart();
    requester.end('after');
    target.end();
    assert.equal((await readAll(target)).toString(), 'after');
    const row = await untilLogged(sid);
    assert.deepEqual([row.reason, row.bytes_up], ['eof', 12]);
  });
});
