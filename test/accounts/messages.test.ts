/** What a message holds besides text, to and from another implementation, on both servers. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RawClient } from '../peers/rawClient.ts';
import type { SlixmppClient } from '../peers/slixmpp.ts';
import { createScene, describeEachWithSlixmpp, type Peer, type Scene } from '../support/scene.ts';

type Row = Record<string, unknown>;

const NS_ERROR = 'urn:ietf:params:xml:ns:xmpp-stanzas';

const holdMessages = (peer: Peer) => {
  let scene: Scene;
  let far: SlixmppClient;
  let raw: RawClient;
  let account: number;
  before(async () => {
    scene = await createScene(peer);
    account = await scene.addAccount('bot');
    far = await scene.addPeer('far');
    raw = await scene.addClient('raw', { resource: 'phone' });
  });
  after(() => scene?.close());

  const own = () => `bot@${scene.server.domain}`;
  const to = () => `far@${scene.server.domain}`;
  /** Sends a row, and returns it once it is submitted, with what slixmpp got. */
  const exchange = async (columns: Row) => {
    const id = await scene.insert({ account_id: account, message_to: to(), ...columns });
    const row = await scene.untilState(id, 'submitted');
    const { element } = await far.waitFor((stanza) => stanza.element.attrs.id === row.stanza_id);
    return { row, element };
  };
  const untilRow = (where: string, values: unknown[] = []) =>
    scene.db.until<Row>(`select * from xmpp_rx_queue where ${where}`, values);

  test('every column of a sent row has its element at the far end', async () => {
    const { element: html } = await exchange({ message_html: '<p>Hello <em>you</em></p>' });
    assert.equal(html.find('body')?.text, 'Hello you');
    assert.ok(html.find('html', 'http://jabber.org/protocol/xhtml-im'));
    const { element: url } = await exchange({ oob_url: 'https://x.org/cat.png' });
    assert.equal(url.find('body')?.text, 'https://x.org/cat.png');
    assert.equal(url.find('x', 'jabber:x:oob')?.find('url')?.text, 'https://x.org/cat.png');
    const { row, element: first } = await exchange({ message_body: 'frist' });
    const { element: second } = await exchange({
      message_body: 'first',
      replaces_id: row.stanza_id,
    });
    assert.equal(second.find('replace', 'urn:xmpp:message-correct:0')?.attrs.id, first.attrs.id);
    const { element: gone } = await exchange({ retracts_id: row.stanza_id });
    assert.equal(gone.find('retract', 'urn:xmpp:message-retract:1')?.attrs.id, row.stanza_id);
    const { element: liked } = await exchange({ reaction_to: 'm1', reactions: ['👍', '🎉'] });
    assert.equal(liked.find('reactions', 'urn:xmpp:reactions:0')?.attrs.id, 'm1');
    const { element: reply } = await exchange({
      message_body: 'yes',
      reply_to_id: 'm1',
      reply_to_jid: to(),
    });
    assert.equal(reply.find('reply', 'urn:xmpp:reply:0')?.attrs.to, to());
    const { element: read } = await exchange({ displayed_id: 'm1' });
    assert.equal(read.find('displayed', 'urn:xmpp:chat-markers:0')?.attrs.id, 'm1');
    assert.equal(read.find('request', 'urn:xmpp:receipts'), null);
    const { element: typing } = await exchange({ chat_state: 'composing' });
    assert.ok(typing.find('composing', 'http://jabber.org/protocol/chatstates'));
    assert.ok(typing.find('no-store', 'urn:xmpp:hints'));
    const { element: hinted } = await exchange({
      message_body: 'x',
      hints: ['no-copy'],
      encryption: 'jabber:x:encrypted',
    });
    assert.ok(hinted.find('no-copy', 'urn:xmpp:hints'));
    assert.equal(
      hinted.find('encryption', 'urn:xmpp:eme:0')?.attrs.namespace,
      'jabber:x:encrypted',
    );
  });

  test('what the far end says by its own code is in the columns', async () => {
    await far.do('message', { to: own(), body: 'frist', stanza_id: 's1', markable: true });
    assert.equal((await untilRow("message_id = 's1'")).markable, true);
    await far.do('correct', { to: own(), about: 's1', body: 'first' });
    assert.equal((await untilRow("replaces_id = 's1'")).message_body, 'first');
    await far.do('react', { to: own(), about: 's1', reactions: ['🐢'] });
    const liked = await untilRow("reaction_to = 's1'");
    assert.deepEqual([liked.reactions, liked.message_body], [['🐢'], null]);
    await far.do('reply', { to: own(), about: 's1', body: 'indeed' });
    const reply = await untilRow("reply_to_id = 's1'");
    assert.match(String(reply.message_body), /indeed/);
  });

  test('a marker by the far end says that the row was read, one by another does not', async () => {
    const { row } = await exchange({ message_body: 'read me' });
    raw.send(
      `<message to='${own()}' type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='${row.stanza_id}'/></message>`,
    );
    await raw.iq(`<iq type='get' id='b1' to='${own()}/rowgram'><ping xmlns='urn:xmpp:ping'/></iq>`);
    await scene.db.until('select from xmpp_accounts where id = $1 and spoofed_count = 1', [
      account,
    ]);
    assert.equal((await scene.untilState(row.id, 'submitted')).displayed_at, null);
    await far.do('marker', { to: own(), about: row.stanza_id, marker: 'displayed' });
    assert.ok((await scene.untilState(row.id, 'displayed')).displayed_at);
  });

  test('what the far end is doing is a row as long as it does it, and no message', async () => {
    raw.send(
      `<message to='${own()}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>`,
    );
    const select = 'select from xmpp_chat_states where jid = $1 and chat_state = $2';
    await scene.db.until(select, [raw.jid, 'composing']);
    raw.send(
      `<message to='${own()}' type='chat' id='c1'><active xmlns='http://jabber.org/protocol/chatstates'/><body>done</body></message>`,
    );
    await scene.db.until(select, [raw.jid, 'active']);
    assert.equal((await untilRow("message_id = 'c1'")).chat_state, 'active');
    const messages = await scene.db.rows(
      'select from xmpp_rx_queue where message_from = $1 and message_body is null',
      [raw.jid],
    );
    assert.equal(messages.length, 0);
  });

  test('a chat state that could not go at once expires, and its neighbours go', async () => {
    await scene.db.rows('update xmpp_accounts set enabled = false where id = $1', [account]);
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'off'", [account]);
    const late = await scene.insert({
      account_id: account,
      message_to: to(),
      chat_state: 'paused',
      insert_timestamp: new Date(Date.now() - 60_000),
    });
    const text = await scene.insert({ account_id: account, message_to: to(), message_body: 'on' });
    await scene.db.rows('update xmpp_accounts set enabled = true where id = $1', [account]);
    const row = await scene.untilState(late, 'expired');
    assert.equal(row.submission_info, 'a chat state is not sent late');
    await scene.untilState(text, 'submitted');
  });

  test('an error has its type, condition, text and who said it in columns', async () => {
    const id = await scene.insert({
      account_id: account,
      message_to: raw.jid,
      message_body: 'refuse me',
    });
    const { element } = await raw.next(
      (stanza) => stanza.element.find('body')?.text === 'refuse me',
    );
    raw.send(
      `<message to='${own()}/rowgram' type='error' id='${element.attrs.id}'><error type='modify' by='x.org'>` +
        `<not-acceptable xmlns='${NS_ERROR}'/><text xmlns='${NS_ERROR}' xml:lang='en'>too late</text></error></message>`,
    );
    const row = { ...(await scene.untilState(id, 'failed')) };
    assert.partialDeepStrictEqual(row, {
      error_type: 'modify',
      error_condition: 'not-acceptable',
      error_text: 'too late',
      error_by: 'x.org',
      submission_failed: true,
    });
  });

  test('an error that may pass queues the row again, with the same id (RFC 6120 §8.3.2)', async () => {
    const id = await scene.insert({
      account_id: account,
      message_to: raw.jid,
      message_body: 'not now',
    });
    const isRow = (stanza: { element: { find(name: string): { text: string } | null } }) =>
      stanza.element.find('body')?.text === 'not now';
    const { element } = await raw.next(isRow);
    raw.send(
      `<message to='${own()}/rowgram' type='error' id='${element.attrs.id}'><error type='wait'>` +
        `<resource-constraint xmlns='${NS_ERROR}'/></error></message>`,
    );
    const waiting = await scene.db.until<Row>(
      'select * from xmpp_tx_queue where id = $1 and attempts = 1',
      [id],
    );
    assert.partialDeepStrictEqual(waiting, {
      state: 'queued',
      settled: false,
      submission_failed: false,
      submission_timestamp: null,
      error_type: 'wait',
      error_condition: 'resource-constraint',
    });
    const again = await raw.next(isRow, 15_000);
    assert.equal(again.element.attrs.id, element.attrs.id);
    await scene.untilState(id, 'submitted');
  });

  test('a row with columns that contradict each other fails with them, its neighbours go', async () => {
    const wrong = await scene.insert({ account_id: account, message_to: to(), reactions: ['x'] });
    const right = await scene.insert({ account_id: account, message_to: to(), message_body: 'r' });
    const row = await scene.untilState(wrong, 'failed');
    assert.match(row.submission_info ?? '', /reaction_to/);
    await scene.untilState(right, 'submitted');
  });
};

describeEachWithSlixmpp('messages', holdMessages);
