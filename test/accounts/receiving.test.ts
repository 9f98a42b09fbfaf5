/** What real servers bring becomes rows of xmpp_rx_queue, each column from where it belongs. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '../../src/db/connect.ts';
import type { RawClient } from '../peers/rawClient.ts';
import { createScene, describeEach, type Peer, type Scene } from '../support/scene.ts';

type RxRow = {
  id: number;
  account_id: number;
  message_stanza: string;
  message_from: string;
  message_to: string;
  message_subject: string | null;
  message_body: string | null;
  message_type: string;
  message_id: string | null;
  origin_id: string | null;
  archive_id: string | null;
  thread: string | null;
  lang: string | null;
  delayed_at: Date | null;
  error_condition: string | null;
};

const NS_RECEIPTS = 'urn:xmpp:receipts';
const NS_SID = 'urn:xmpp:sid:0';
const NS_STATES = 'http://jabber.org/protocol/chatstates';
const REQUEST = `<request xmlns='${NS_RECEIPTS}'/>`;

const holdReceiving = (peer: Peer) => {
  let scene: Scene;
  let bob: RawClient;
  let account: number;
  before(async () => {
    scene = await createScene(peer);
    account = await scene.addAccount('inbox');
    bob = await scene.addClient('bob', { resource: 'phone' });
  });
  after(() => scene?.close());

  const jid = () => `inbox@${scene.server.domain}`;
  const untilBody = (body: string) =>
    scene.db.until<RxRow>('select * from xmpp_rx_queue where message_body = $1', [body]);
  const isReceiptFor =
    (id: string) => (stanza: { element: RawClient['stanzas'][number]['element'] }) =>
      stanza.element.find('received', NS_RECEIPTS)?.attrs.id === id;

  test('each part of a message has its column', async () => {
    bob.send(
      `<message to='${jid()}' type='chat' id='id-1' xml:lang='de'><subject>Betreff</subject>` +
        `<body>alles &amp; mehr</body><thread>t-1</thread><origin-id xmlns='${NS_SID}' id='o-1'/>` +
        `<stanza-id xmlns='${NS_SID}' by='${jid()}' id='forged'/><x xmlns='urn:test'>kept</x></message>`,
    );
    const row = await untilBody('alles & mehr');
    const { message_stanza, archive_id, ...columns } = row;
    assert.match(message_stanza, /<x xmlns="urn:test">kept<\/x>|<x xmlns='urn:test'>kept<\/x>/);
    // Given by the server, since both keep an archive.
    assert.ok(archive_id && archive_id !== 'forged', `${archive_id}`);
    assert.partialDeepStrictEqual(columns, {
      account_id: account,
      message_from: bob.jid,
      message_to: jid(),
      message_subject: 'Betreff',
      message_type: 'chat',
      message_id: 'id-1',
      origin_id: 'o-1',
      thread: 't-1',
      lang: 'de',
      delayed_at: null,
      error_condition: null,
    });
  });

  test('a message without a type is a normal one (RFC 6121 §5.2.2)', async () => {
    bob.send(`<message to='${jid()}'><body>no type</body></message>`);
    const row = await untilBody('no type');
    assert.deepEqual([row.message_type, row.message_subject, row.thread], ['normal', null, null]);
    bob.send(`<message to='${jid()}' type='headline'><body>headline</body></message>`);
    assert.equal((await untilBody('headline')).message_type, 'headline');
  });

  test('an error that belongs to no row is kept with its condition', async () => {
    bob.send(
      `<message to='${jid()}/rowgram' type='error' id='stray'><body>stray</body>` +
        `<error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`,
    );
    const { message_type, error_condition } = await untilBody('stray');
    assert.deepEqual([message_type, error_condition], ['error', 'not-acceptable']);
  });

  test('what came while the account was off is one row each, with its time', async () => {
    const set = 'update xmpp_accounts set enabled = $2 where id = $1';
    const startedAt = new Date(Math.floor(Date.now() / 1_000) * 1_000);
    await scene.db.rows(set, [account, false]);
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'off'", [account]);
    for (let n = 1; n <= 5; n += 1) {
      bob.send(
        `<message to='${jid()}' type='chat' id='off-${n}'><body>offline ${n}</body></message>`,
      );
    }
    // The server has dealt with them when it answers what came after.
    await bob.iq(
      `<iq type='get' id='barrier' to='${scene.server.domain}'><ping xmlns='urn:xmpp:ping'/></iq>`,
    );
    await scene.db.rows(set, [account, true]);
    await untilBody('offline 5');
    const rows = await scene.db.rows<RxRow>(
      "select * from xmpp_rx_queue where message_body like 'offline %' order by id",
    );
    assert.deepEqual(
      rows.map(({ message_body }) => message_body),
      [1, 2, 3, 4, 5].map((n) => `offline ${n}`),
    );
    for (const { delayed_at } of rows) assert.ok(delayed_at && delayed_at >= startedAt);
  });

  test('a receipt is sent when it was asked for, once the row is committed', async () => {
    const locker = await connect(scene.db.address, 'test');
    await locker.query('begin; lock table xmpp_rx_queue in exclusive mode');
    bob.send(`<message to='${jid()}' type='chat' id='r-1'><body>asks</body>${REQUEST}</message>`);
    await delay(200);
    assert.equal(bob.stanzas.filter(isReceiptFor('r-1')).length, 0);
    await locker.query('commit');
    await locker.end();
    const { element } = await bob.next(isReceiptFor('r-1'));
    assert.equal(element.attrs.from, `${jid()}/rowgram`);
    await untilBody('asks');
  });

  test('no receipt is sent when none was asked for, or the account sends none', async () => {
    const stream = 'select sm_id from xmpp_streams where account_id = $1';
    const before = await scene.db.rows(stream, [account]);
    bob.send(`<message to='${jid()}' type='chat' id='r-2'><body>asks not</body></message>`);
    await untilBody('asks not');
    await scene.db.rows('update xmpp_accounts set send_receipts = false where id = $1', [account]);
    await delay(100);
    bob.send(
      `<message to='${jid()}' type='chat' id='r-3'><body>in vain</body>${REQUEST}</message>`,
    );
    await untilBody('in vain');
    await scene.db.rows('update xmpp_accounts set send_receipts = true where id = $1', [account]);
    await delay(100);
    bob.send(`<message to='${jid()}' type='chat' id='r-4'><body>again</body>${REQUEST}</message>`);
    await bob.next(isReceiptFor('r-4'));
    for (const id of ['r-2', 'r-3']) assert.equal(bob.stanzas.filter(isReceiptFor(id)).length, 0);
    assert.deepEqual(await scene.db.rows(stream, [account]), before);
  });

  test('chat states, receipts and markers make no row', async () => {
    const [count] = await scene.db.rows('select count(*) from xmpp_rx_queue');
    for (const content of [
      `<composing xmlns='${NS_STATES}'/>`,
      `<active xmlns='${NS_STATES}'/><thread>t</thread>`,
      `<received xmlns='${NS_RECEIPTS}' id='x'/>`,
      `<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>`,
    ]) {
      bob.send(`<message to='${jid()}' type='chat' id='passing'>${content}</message>`);
    }
    bob.send(
      `<message to='${jid()}' type='chat'><body>stays</body><active xmlns='${NS_STATES}'/></message>`,
    );
    await untilBody('stays');
    const [now] = await scene.db.rows('select count(*) - 1 as count from xmpp_rx_queue');
    assert.deepEqual(now, count);
  });

  test('emoji, long Cyrillic and line ends arrive as they were sent', async () => {
    const bodies = [
      '👩‍👩‍👧‍👦 𝄞 🇦🇹',
      `${'Съешь ещё этих мягких булок '.repeat(1_200)}.`,
      'a\n\tb  c\u0085\u2028',
    ];
    for (const body of bodies) {
      bob.send(`<message to='${jid()}' type='chat'><body>${body}</body></message>`);
    }
    for (const body of bodies) await untilBody(body);
    assert.ok(Buffer.byteLength(bodies[1] ?? '') > 60_000);
  });

  test('each request gets exactly one answer (RFC 6120 §8.2.3)', async () => {
    const full = `${jid()}/rowgram`;
    const requests: [id: string, xml: string, type: string][] = [
      ['q-ping', `type='get'><ping xmlns='urn:xmpp:ping'/></iq>`, 'result'],
      [
        'q-disco',
        `type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>`,
        'result',
      ],
      ['q-get', `type='get'><query xmlns='urn:test'/></iq>`, 'error'],
      ['q-set', `type='set'><query xmlns='urn:test'/></iq>`, 'error'],
      ['q-put', `type='set'><ping xmlns='urn:xmpp:ping'/></iq>`, 'error'],
    ];
    bob.send(`<iq to='${full}' id='q-result' type='result'/>`);
    for (const [id, xml, type] of requests) {
      const { element } = await bob.iq(`<iq to='${full}' id='${id}' ${xml}`);
      assert.deepEqual([element.attrs.type, element.attrs.from], [type, full], id);
    }
    const ids = bob.stanzas.flatMap(({ element: { attrs } }) => attrs.id ?? []);
    const answers = ids.filter((id) => id.startsWith('q-'));
    assert.deepEqual(
      answers,
      requests.map(([id]) => id),
    );
  });

  test('LISTEN xmpp_rx_queue hears of messages', async () => {
    const heard = Promise.withResolvers<string>();
    scene.db.client.once('notification', ({ channel }) => heard.resolve(channel));
    await scene.db.rows('listen xmpp_rx_queue');
    bob.send(`<message to='${jid()}' type='chat'><body>heard</body></message>`);
    assert.equal(await heard.promise, 'xmpp_rx_queue');
    await scene.db.rows('unlisten *');
    await untilBody('heard');
  });
};

describeEach('receiving', holdReceiving);
