/** Rows of xmpp_tx_queue through real servers: what each column does, and what becomes of the row. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RawClient } from '../peers/rawClient.ts';
import { createSink } from '../peers/sink.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import { createScene, describeEach, hasBody, type Peer, type Scene } from '../support/scene.ts';

const NS_RECEIPTS = 'urn:xmpp:receipts';
const NS_MARKERS = 'urn:xmpp:chat-markers:0';
const NS_SID = 'urn:xmpp:sid:0';

const originIdOf = ({ element }: Stanza) => element.find('origin-id', NS_SID)?.attrs.id;

const holdSending = (peer: Peer) => {
  let scene: Scene;
  let bob: RawClient;
  let sender: number;
  let other: number;
  before(async () => {
    scene = await createScene(peer);
    [sender, other] = await Promise.all([
      scene.addAccount('sender', { is_default: true }),
      scene.addAccount('other'),
    ]);
    bob = await scene.addClient('bob', { resource: 'phone' });
  });
  after(() => scene?.close());

  const bobJid = () => `bob@${scene.server.domain}`;

  /** Inserts a row to Bob and takes it from his wire. */
  const exchange = async (columns: Record<string, unknown>) => {
    const body = `${columns.message_body}`;
    const id = await scene.insert({ message_to: bobJid(), ...columns });
    return { id, stanza: await bob.next(hasBody(body)) };
  };

  /** Does `work` while the sender is disabled, so that what it inserts is one backlog. */
  const whileDisabled = async (work: () => Promise<void>) => {
    const set = 'update xmpp_accounts set enabled = $2 where id = $1';
    await scene.db.rows(set, [sender, false]);
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'off'", [sender]);
    await work();
    await scene.db.rows(set, [sender, true]);
  };

  test('recipient, subject, body, type, thread and language are on the wire', async () => {
    const { id, stanza } = await exchange({
      message_body: 'Grüße & <b>👋</b> ]]> "\'',
      message_subject: 'Re: <x>',
      message_type: 'normal',
      thread: 'thread-1',
      lang: 'de-AT',
    });
    const { element } = stanza;
    assert.equal(element.attrs.from, `sender@${scene.server.domain}/rowgram`);
    assert.equal(element.attrs.to?.split('/')[0], bobJid());
    assert.equal(element.attrs.type ?? 'normal', 'normal');
    assert.equal(element.attrs['xml:lang'], 'de-AT');
    assert.equal(element.find('subject')?.text, 'Re: <x>');
    assert.equal(element.find('thread')?.text, 'thread-1');
    assert.ok(element.find('request', NS_RECEIPTS));
    const row = await scene.untilState(id, 'submitted');
    assert.equal(row.stanza_id, element.attrs.id);
    assert.equal(row.stanza_id, originIdOf(stanza));
    assert.equal(row.account_id, sender);
    assert.ok(row.submission_timestamp);
    assert.deepEqual([row.submission_failed, row.submission_info], [false, null]);
  });

  test('the type of a row is chat by default, and a headline asks for no receipt', async () => {
    const chat = await exchange({ message_body: 'chat', request_receipt: false });
    assert.equal(chat.stanza.element.attrs.type, 'chat');
    assert.equal(chat.stanza.element.find('request', NS_RECEIPTS), null);
    const headline = await exchange({ message_body: 'headline', message_type: 'headline' });
    assert.equal(headline.stanza.element.attrs.type, 'headline');
    assert.equal(headline.stanza.element.find('request', NS_RECEIPTS), null);
    assert.equal(headline.stanza.element.find('subject'), null);
  });

  test('account_id chooses the sender', async () => {
    const { id, stanza } = await exchange({ message_body: 'by other', account_id: other });
    assert.match(stanza.element.attrs.from ?? '', /^other@/);
    assert.equal((await scene.untilState(id, 'submitted')).account_id, other);
  });

  test('message_stanza wins, without the from, id and stanza-id it claims', async () => {
    const { id, stanza } = await exchange({
      message_body: 'from the stanza',
      message_subject: 'not this',
      message_stanza:
        `<message xmlns='jabber:client' to='${bobJid()}' from='eve@evil.test' id='mine' type='chat'>` +
        `<body>from the stanza</body><x xmlns='urn:test'>kept</x>` +
        `<stanza-id xmlns='${NS_SID}' by='${bobJid()}' id='forged'/>` +
        `<origin-id xmlns='${NS_SID}' id='forged'/></message>`,
    });
    const { element } = stanza;
    assert.match(element.attrs.from ?? '', /^sender@/);
    assert.equal(element.find('subject'), null);
    assert.equal(element.find('x', 'urn:test')?.text, 'kept');
    assert.doesNotMatch(stanza.xml, /forged|mine|evil/);
    assert.equal((await scene.untilState(id, 'submitted')).stanza_id, element.attrs.id);
  });

  test('a row waits for send_after, and one past expires_at is never sent', async () => {
    const [row] = await scene.db.rows<{ id: number; at: Date }>(
      `insert into xmpp_tx_queue (message_to, message_body, send_after)
      values ($1, 'later', now() + interval '700 ms') returning id, send_after as at`,
      [bobJid()],
    );
    const expired = await scene.insert({
      message_to: bobJid(),
      message_body: 'expired',
      expires_at: new Date(0),
    });
    const both = await scene.insert({
      message_to: bobJid(),
      message_body: 'expired while it waited',
      send_after: new Date(Date.now() + 60_000),
      expires_at: new Date(Date.now() + 500),
    });
    const { at } = await bob.next(hasBody('later'));
    assert.ok(row && at >= row.at, 'sent too early');
    for (const id of [expired, both]) {
      const { stanza_id, submission_info } = await scene.untilState(id, 'expired');
      assert.deepEqual([stanza_id, submission_info], [null, 'expired before it was sent']);
    }
    assert.equal(bob.stanzas.filter(({ xml }) => xml.includes('expired')).length, 0);
  });

  test('the second row of an idempotency key is not inserted', async () => {
    const insert = () =>
      scene.db.rows<{ id: number }>(
        `insert into xmpp_tx_queue (message_to, message_body, idempotency_key)
        values ($1, 'once', 'key-1') returning id`,
        [bobJid()],
      );
    assert.equal((await insert()).length, 1);
    assert.equal((await insert()).length, 0);
    await bob.next(hasBody('once'));
    await exchange({ message_body: 'after once' });
    assert.equal(bob.stanzas.filter(hasBody('once')).length, 1);
  });

  test('a backlog goes out by priority, smaller first, then by id', async () => {
    const bodies = ['p5', 'p0 a', 'p-3', 'p0 b', 'p9'];
    await whileDisabled(async () => {
      for (const body of bodies) {
        const priority = Number(/-?\d+/.exec(body)?.[0]);
        const columns = { account_id: sender, message_to: bobJid(), message_body: body };
        await scene.insert({ ...columns, priority });
      }
    });
    await bob.next(hasBody('p9'));
    const arrived = bob.stanzas.flatMap(({ element }) => element.find('body')?.text ?? []);
    const order = arrived.filter((body) => bodies.includes(body));
    assert.deepEqual(order, ['p-3', 'p0 a', 'p0 b', 'p5', 'p9']);
  });

  test('500 rows of many transactions keep their order for each recipient', async () => {
    const carol = await scene.addClient('carol');
    const sinks = [createSink(bob), createSink(carol)];
    for (let first = 1; first <= 500; first += 50) {
      await scene.db.rows(
        `insert into xmpp_tx_queue (message_to, message_body)
        select case when n % 2 = 0 then $1 else $2 end, 'order ' || n
        from generate_series($3::int, $3 + 49) n`,
        [bobJid(), `carol@${scene.server.domain}`, first],
      );
    }
    for (const [half, sink] of sinks.entries()) {
      const numbers = Array.from({ length: 250 }, (_, index) => 2 * index + 2 - half);
      await sink.waitFor(
        numbers.map((number) => `order ${number}`),
        20_000,
      );
      const arrived = sink.messages.flatMap(({ body }) => /^order (\d+)$/.exec(body)?.[1] ?? []);
      assert.deepEqual(arrived.map(Number), numbers);
    }
  });

  test('a receipt makes the row delivered, a marker displayed, and another sender neither', async () => {
    const eve = await scene.addClient('eve');
    const { id, stanza } = await exchange({ message_body: 'report on me' });
    const { from = '', id: stanzaId = '' } = stanza.element.attrs;
    await scene.untilState(id, 'submitted');
    const say = (who: RawClient, content: string, type = 'chat') =>
      who.send(`<message to='${from}' type='${type}' id='${stanzaId}'>${content}</message>`);
    say(eve, `<received xmlns='${NS_RECEIPTS}' id='${stanzaId}'/>`);
    say(eve, `<displayed xmlns='${NS_MARKERS}' id='${stanzaId}'/>`);
    say(
      eve,
      `<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>`,
      'error',
    );
    say(eve, '<body>eve was here</body>');
    await scene.db.until("select from xmpp_rx_queue where message_body = 'eve was here'");
    const untouched = await scene.untilState(id, 'submitted');
    assert.deepEqual([untouched.delivered_at, untouched.submission_failed], [null, false]);
    say(bob, `<received xmlns='${NS_RECEIPTS}' id='${stanzaId}'/>`);
    const delivered = await scene.untilState(id, 'delivered');
    assert.ok(delivered.delivered_at);
    assert.equal(delivered.displayed_at, null);
    say(bob, `<displayed xmlns='${NS_MARKERS}' id='${stanzaId}'/>`);
    assert.ok((await scene.untilState(id, 'displayed')).displayed_at);
  });

  test('a message that comes back makes its row failed, with the error', async () => {
    const message_to = `nobody@${scene.server.domain}`;
    const id = await scene.insert({ message_to, message_body: 'to nobody' });
    const row = await scene.untilState(id, 'failed');
    assert.equal(row.submission_failed, true);
    assert.match(row.submission_info ?? '', /service-unavailable|item-not-found/);
    const kept = await scene.db.rows(
      'select message_stanza from xmpp_rx_queue where message_from = $1',
      [message_to],
    );
    assert.deepEqual(kept, []);
  });

  test('a row that was rolled back is never sent', async () => {
    await scene.db.rows('begin');
    await scene.insert({ message_to: bobJid(), message_body: 'rolled back' });
    await scene.db.rows('rollback');
    await exchange({ message_body: 'after the rollback' });
    assert.equal(bob.stanzas.filter(hasBody('rolled back')).length, 0);
  });

  test('a queued row can be cancelled, and queued again', async () => {
    let id = 0;
    await whileDisabled(async () => {
      id = await scene.insert({
        account_id: sender,
        message_to: bobJid(),
        message_body: 'cancelled',
      });
      const set = 'update xmpp_tx_queue set state = $2 where id = $1';
      await scene.db.rows(set, [id, 'cancelled']);
    });
    await exchange({ account_id: sender, message_body: 'after the cancelled one' });
    assert.equal(bob.stanzas.filter(hasBody('cancelled')).length, 0);
    await scene.db.rows("update xmpp_tx_queue set state = 'queued' where id = $1", [id]);
    await bob.next(hasBody('cancelled'));
    await scene.untilState(id, 'submitted');
  });

  test('a failed row is sent when it is corrected and queued again', async () => {
    const id = await scene.insert({ message_to: 'a b@c d', message_body: 'corrected' });
    await scene.untilState(id, 'failed');
    await scene.db.rows(
      "update xmpp_tx_queue set state = 'queued', message_to = $2 where id = $1",
      [id, bobJid()],
    );
    await bob.next(hasBody('corrected'));
    const row = await scene.untilState(id, 'submitted');
    assert.deepEqual([row.submission_failed, row.submission_info], [false, null]);
  });

  test('rowgram_wait returns submitted, and refuses a row that is not committed', async () => {
    const id = await scene.insert({ message_to: bobJid(), message_body: 'waited for' });
    const [row] = await scene.db.rows<{ state: string }>('select rowgram_wait($1) as state', [id]);
    assert.equal(row?.state, 'submitted');
    await scene.db.rows('begin');
    const own = await scene.insert({ message_to: bobJid(), message_body: 'not committed' });
    await assert.rejects(scene.db.rows('select rowgram_wait($1)', [own]), /is not committed yet/);
    await scene.db.rows('rollback');
  });

  test('LISTEN xmpp_tx_queue_results hears of results', async () => {
    const heard = Promise.withResolvers<string>();
    scene.db.client.once('notification', ({ channel }) => heard.resolve(channel));
    await scene.db.rows('listen xmpp_tx_queue_results');
    await exchange({ message_body: 'heard' });
    assert.equal(await heard.promise, 'xmpp_tx_queue_results');
    await scene.db.rows('unlisten *');
  });
};

describeEach('sending', holdSending);
