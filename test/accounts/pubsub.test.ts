/** What is published comes and goes as rows, and rows are published (XEP-0060, XEP-0163). */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { RawClient } from '../peers/rawClient.ts';
import type { SlixmppClient } from '../peers/slixmpp.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import { createScene, describeEach, insertInto, type Peer, type Scene } from '../support/scene.ts';

const NODE = 'urn:test:<news>';
const XML_NODE = 'urn:test:&lt;news&gt;';
const EVENT = 'http://jabber.org/protocol/pubsub#event';

const holdPubsub = (peer: Peer) => {
  let scene: Scene;
  let bot: number;
  let botJid: string;
  let contactJid: string;
  /** Of the account as well: it speaks for it where that is not what is tested. */
  let hand: RawClient;
  let contact: SlixmppClient;
  before(async () => {
    scene = await createScene(peer);
    const { domain } = scene.server;
    botJid = `bot@${domain}`;
    contactJid = `contact@${domain}`;
    hand = await scene.addClient('bot', { resource: 'hand' });
    contact = await scene.addPeer('contact', { resource: 'c' });
    const isOf =
      (type: string) =>
      ({ element: { name, attrs } }: Stanza): boolean =>
        name === 'presence' && attrs.type === type;
    hand.send(`<presence to='${contactJid}' type='subscribe'/>`);
    await contact.waitFor(isOf('subscribe'));
    contact.send(`<presence to='${botJid}' type='subscribed'/>`);
    contact.send(`<presence to='${botJid}' type='subscribe'/>`);
    await hand.next(isOf('subscribe'));
    hand.send(`<presence to='${contactJid}' type='subscribed'/>`);
    await untilMutual();
    bot = await scene.addAccount('bot', { notify_nodes: [NODE], is_default: true });
  });
  after(() => scene?.close());

  /** Both servers, which are one, have the subscription both ways. */
  const untilMutual = async () => {
    for (const giveUpAt = Date.now() + 5_000; ; ) {
      const own = await hand.iq("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
      const theirs = await contact.do('roster_get');
      const isBoth = /subscription=["']both/;
      if (isBoth.test(own.xml) && /"both"/.test(JSON.stringify(theirs))) return;
      assert.ok(Date.now() < giveUpAt, own.xml);
    }
  };
  const settled = (id: number) =>
    scene.db.until<{ state: string; submission_info: string | null }>(
      'select * from xmpp_iq_queue where id = $1 and settled',
      [id],
    );
  const publish = async (id: string, text: string) => {
    const answer = await contact.iq(
      `<iq type='set' id='p${id}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>` +
        `<publish node='${XML_NODE}'><item id='${id}'><news xmlns='urn:n'>${text}</news></item>` +
        '</publish></pubsub></iq>',
    );
    assert.match(answer, /type="result"/);
  };

  type Item = { service: string; item_id: string; payload: string | null };
  const items = () =>
    scene.db.rows<Item>(
      'select service, item_id, payload from xmpp_pubsub_items where node = $1 order by item_id',
      [NODE],
    );
  const untilCount = (count: number) =>
    scene.db.until('select from xmpp_pubsub_items where node = $1 having count(*) = $2', [
      NODE,
      count,
    ]);
  const received = () => scene.db.rows('select message_stanza from xmpp_rx_queue');

  test('what a contact publishes becomes a row, the last one of each id, until it is retracted', async () => {
    const told = new Promise<void>((done) => {
      scene.db.client.on(
        'notification',
        ({ channel }) => channel === 'xmpp_pubsub_items' && done(),
      );
    });
    await scene.db.client.query('listen xmpp_pubsub_items');
    await publish('a', 'one');
    await scene.db.until("select from xmpp_pubsub_items where payload like '%one%'");
    await publish('a', 'two &lt;');
    await scene.db.until("select from xmpp_pubsub_items where payload like '%two%'");
    assert.deepEqual(await items(), [
      { service: contactJid, item_id: 'a', payload: '<news xmlns="urn:n">two &lt;</news>' },
    ]);
    await told;
    // ejabberd tells those of retractions and deletions who have subscribed to the node itself.
    const subscribe =
      "<pubsub xmlns='http://jabber.org/protocol/pubsub'>" +
      `<subscribe node='${XML_NODE}' jid='${botJid}'/></pubsub>`;
    const { submission_info } = await settled(
      await insertInto(scene.db, 'xmpp_iq_queue', {
        iq_to: contactJid,
        iq_type: 'set',
        payload: subscribe,
      }),
    );
    assert.equal(submission_info, null);
    const answer = await contact.iq(
      `<iq type='set' id='r1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>` +
        `<retract node='${XML_NODE}' notify='true'><item id='a'/></retract></pubsub></iq>`,
    );
    assert.match(answer, /type="result"/);
    await untilCount(0);
    assert.deepEqual(await received(), []);
  });

  test('what a row publishes reaches the contact, and is retracted by another', async () => {
    const call = async (text: string, values: unknown[]): Promise<number> =>
      (await scene.db.rows<{ id: number }>(`select ${text} as id`, values))[0]?.id ?? 0;
    const id = await call('xmpp_publish($1, $2, item_id => $3)', [
      'it\'s "<&',
      "<mood xmlns='urn:m'>fine</mood>",
      "<1'",
    ]);
    const row = await settled(id);
    assert.equal(row.state, 'delivered', row.submission_info ?? '');
    const read = await contact.iq(
      `<iq type='get' id='g1' to='${botJid}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>` +
        `<items node="it's &quot;&lt;&amp;"/></pubsub></iq>`,
    );
    assert.match(read, /fine/);
    assert.match(read, /&lt;1/);
    const gone = await settled(
      await call('xmpp_retract_item($1, $2, $3)', ['it\'s "<&', "<1'", bot]),
    );
    assert.equal(gone.state, 'delivered', gone.submission_info ?? '');
    const none = await contact.iq(
      `<iq type='get' id='g2' to='${botJid}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>` +
        `<items node="it's &quot;&lt;&amp;"/></pubsub></iq>`,
    );
    assert.doesNotMatch(none, /fine/);
  });

  test('a contact whose client wants the node gets what a row publishes', async () => {
    const own = await scene.addClient('contact', { resource: 'raw', presence: false });
    // A client with the capabilities of XEP-0115, answering what they are.
    own.onStanza(({ element }) => {
      if (element.name !== 'iq' || element.attrs.type !== 'get') return;
      const node = element.find('query')?.attrs.node;
      own.send(
        `<iq type='result' id='${element.attrs.id}' to='${element.attrs.from}'>` +
          `<query xmlns='http://jabber.org/protocol/disco#info'${node ? ` node='${node}'` : ''}>` +
          `<identity category='client' type='pc'/><feature var='urn:test:tune+notify'/></query></iq>`,
      );
    });
    const ver = hash('sha1', 'client/pc//<urn:test:tune+notify<', 'base64');
    own.send(
      `<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:raw' ver='${ver}'/></presence>`,
    );
    await own.iq(
      `<iq type='get' id='w1' to='${scene.server.domain}'><ping xmlns='urn:xmpp:ping'/></iq>`,
    );
    await scene.db.rows('select xmpp_publish($1, $2)', [
      'urn:test:tune',
      "<t xmlns='urn:t'>la</t>",
    ]);
    const event = await own.next(
      ({ xml }) => xml.includes(EVENT) && xml.includes('urn:test:tune') && xml.includes('la'),
    );
    assert.equal(event.element.attrs.from, botJid);
    const item = event.element.find('event', EVENT)?.find('items')?.find('item');
    assert.equal(item?.attrs.id, 'current');
  });

  test('events of others, and those that are no events, change no row', async () => {
    const forger = await scene.addClient('forger', { resource: 'f' });
    const [before] = await scene.db.rows<{ count: number }>(
      'select spoofed_count as count from xmpp_accounts where id = $1',
      [bot],
    );
    forger.send(
      `<message to='${botJid}/rowgram' type='headline'><event xmlns='${EVENT}'>` +
        `<items node='${XML_NODE}'><item id='x'><lie xmlns='urn:n'/></item></items></event></message>`,
    );
    await scene.db.until('select from xmpp_accounts where id = $1 and spoofed_count = $2', [
      bot,
      (before?.count ?? 0) + 1,
    ]);
    assert.deepEqual(await items(), []);
    assert.deepEqual(await received(), []);
  });

  test('a node that is deleted takes all its rows along', async () => {
    for (const id of ['a', 'b']) {
      await publish(id, `item ${id}`);
      await scene.db.until('select from xmpp_pubsub_items where item_id = $1', [id]);
    }
    // Of a personal node ejabberd tells it only when it is told to.
    const configured = await contact.iq(
      `<iq type='set' id='c1'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>` +
        `<configure node='${XML_NODE}'><x xmlns='jabber:x:data' type='submit'>` +
        `<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value></field>` +
        `<field var='pubsub#notify_delete'><value>1</value></field></x></configure></pubsub></iq>`,
    );
    assert.match(configured, /type="result"/);
    const answer = await contact.iq(
      `<iq type='set' id='d1'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>` +
        `<delete node='${XML_NODE}'/></pubsub></iq>`,
    );
    assert.match(answer, /type="result"/);
    await untilCount(0);
  });
};

describeEach('pubsub', holdPubsub);
