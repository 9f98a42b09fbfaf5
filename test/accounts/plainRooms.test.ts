/** A room without an archive or ids of its own: what was missed is what the room itself remembers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFaultProxy } from '../peers/faultProxy.ts';
import { createScene, insertInto, PROSODY, SLIXMPP_SKIP } from '../support/scene.ts';

const DOMAIN = 'plain.localhost';
const ROOM = `tea@${DOMAIN}`;

test('after a lost stream nothing is missed or doubled', {
  skip: PROSODY.skip || SLIXMPP_SKIP,
}, async (t) => {
  const scene = await createScene(PROSODY, {
    settings: `Component "${DOMAIN}" "muc"\n restrict_room_creation = false\n`,
  });
  t.after(() => scene.close());
  const { db } = scene;
  const proxy = await startFaultProxy({ target: scene.server });
  t.after(() => proxy.stop());
  const alice = await scene.addAccount('alice', { srv_host: proxy.host, srv_port: proxy.port });
  const bob = await scene.addPeer('bob');
  await bob.do('join', { room: ROOM, nick: 'bob' });
  const tell = (body: string) => bob.do('message', { to: ROOM, type: 'groupchat', body });
  const say = (message_body: string) =>
    scene.insert({ message_to: ROOM, message_type: 'groupchat', message_body });
  const bodies = () =>
    bob.stanzas
      .filter(({ element }) => element.attrs.from === `${ROOM}/alice`)
      .flatMap(({ element }) => element.find('body')?.text ?? []);
  const untilShown = async (count: number) => {
    while (bodies().length < count) await new Promise((done) => setTimeout(done, 10));
  };
  const untilReceived = (body: string) =>
    db.until('select from xmpp_rx_queue where message_body = $1', [body]);

  await tell('before');
  await insertInto(db, 'xmpp_rooms', { account_id: alice, room_jid: ROOM });
  await db.until("select from xmpp_rooms where state = 'joined'");
  for (const body of ['one', 'two', 'two']) await tell(body);
  await say('a');
  await untilShown(1);
  await db.until('select from xmpp_rx_queue having count(*) = 3');

  proxy.stall('toClient');
  for (const body of ['b', 'c', 'd']) await say(body);
  await untilShown(4);
  proxy.refuse('on');
  proxy.reset();
  proxy.stall('off');
  await db.until("select from xmpp_accounts where state = 'backoff'");
  const other = await scene.addClient('alice', { resource: 'rowgram', presence: false });
  await other.close();
  for (const body of ['three', 'four']) await tell(body);
  await say('e');
  proxy.refuse('off');
  await untilShown(5);
  await db.until(
    "select from xmpp_tx_queue having count(*) filter (where state = 'submitted') = 5",
  );
  await tell('five');
  await untilReceived('five');
  assert.deepEqual(bodies(), ['a', 'b', 'c', 'd', 'e']);
  const rows = await db.rows<{ message_body: string; archive_id: string | null }>(
    'select message_body, archive_id from xmpp_rx_queue order by id',
  );
  assert.deepEqual(
    rows.map(({ message_body }) => message_body),
    ['one', 'two', 'two', 'three', 'four', 'five'],
  );
  assert.ok(rows.every(({ archive_id }) => archive_id === null));
});
