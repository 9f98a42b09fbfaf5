/** Accounts in rooms of real servers, with slixmpp in the room, too. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type FaultProxy, startFaultProxy } from '../peers/faultProxy.ts';
import type { SlixmppClient } from '../peers/slixmpp.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import { spawnDaemon } from '../support/daemon.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import {
  createScene,
  describeEachWithSlixmpp,
  hasBody,
  insertInto,
  PASSWORD,
  type Peer,
  type Scene,
} from '../support/scene.ts';

const NS_MUC = 'http://jabber.org/protocol/muc';
const NS_ADMIN = `${NS_MUC}#admin`;
const NS_OWNER = `${NS_MUC}#owner`;
const NS_USER = `${NS_MUC}#user`;

type RoomRow = {
  id: number;
  state: string;
  state_info: string | null;
  next_try_at: Date | null;
  own_nick: string | null;
  role: string | null;
  affiliation: string | null;
  occupants: number;
  subject: string | null;
};
type RxRow = {
  message_body: string;
  message_from: string;
  archive_id: string | null;
  occupant_id: string | null;
  delayed_at: Date | null;
};

const holdRooms = (peer: Peer) => {
  let scene: Scene;
  let bob: SlixmppClient;
  let alice: number;
  let proxy: FaultProxy;
  let rooms = 0;
  before(async () => {
    scene = await createScene(peer);
    proxy = await startFaultProxy({ target: scene.server });
    [alice, bob] = await Promise.all([
      scene.addAccount('alice', { srv_host: proxy.host, srv_port: proxy.port }),
      scene.addPeer('bob', { resource: 'phone' }),
    ]);
  });
  after(async () => {
    await scene?.close();
    await proxy?.stop();
  });

  /** A room that Bob has opened. */
  const openRoom = async (): Promise<string> => {
    rooms += 1;
    const room = `room${rooms}@${scene.server.roomsDomain}`;
    await bob.do('join', { room, nick: 'bob' });
    return room;
  };
  const configure = async (room: string, values: Record<string, string>) => {
    const fields = Object.entries({ FORM_TYPE: `${NS_MUC}#roomconfig`, ...values })
      .map(([name, value]) => `<field var='${name}'><value>${value}</value></field>`)
      .join('');
    const answer = await bob.iq(
      `<iq type='set' id='c${Math.random()}' to='${room}'><query xmlns='${NS_OWNER}'>` +
        `<x xmlns='jabber:x:data' type='submit'>${fields}</x></query></iq>`,
    );
    assert.match(answer, /type=['"]result/);
  };
  const moderate = async (room: string, item: string) => {
    const answer = await bob.iq(
      `<iq type='set' id='m${Math.random()}' to='${room}'><query xmlns='${NS_ADMIN}'>${item}</query></iq>`,
    );
    assert.match(answer, /type=['"]result/);
  };
  const addRow = (room: string, columns: Record<string, unknown> = {}) =>
    insertInto(scene.db, 'xmpp_rooms', { account_id: alice, room_jid: room, ...columns });
  const untilRoom = (id: number, state: string) =>
    scene.db.until<RoomRow>('select * from xmpp_rooms where id = $1 and state = $2', [id, state]);
  const join = async (columns: Record<string, unknown> = {}) => {
    const room = await openRoom();
    const id = await addRow(room, columns);
    return { room, id, row: await untilRoom(id, 'joined') };
  };
  const say = (room: string, text: string, columns: Record<string, unknown> = {}) =>
    scene.insert({
      account_id: alice,
      message_to: room,
      message_type: 'groupchat',
      message_body: text,
      ...columns,
    });
  const untilReceived = (body: string) =>
    scene.db.until<RxRow>('select * from xmpp_rx_queue where message_body = $1', [body]);
  const countOf = (body: string) =>
    scene.db.rows<RxRow>('select * from xmpp_rx_queue where message_body = $1', [body]);
  const isFrom =
    (from: string, type?: string) =>
    ({ element }: Stanza): boolean =>
      element.attrs.from === from && (type === undefined || element.attrs.type === type);
  const bodiesFrom = (from: string): string[] =>
    bob.stanzas
      .filter(({ element }) => element.name === 'message' && element.attrs.from === from)
      .flatMap(({ element }) => element.find('body')?.text ?? []);

  test('a room is entered, with what is known of it and of who is there', async () => {
    const { room, id } = await join();
    const row = await scene.db.until<RoomRow>(
      'select * from xmpp_rooms where id = $1 and occupants = 2',
      [id],
    );
    assert.deepEqual(
      [row.own_nick, row.role, row.affiliation, row.state_info, row.next_try_at],
      ['alice', 'participant', 'none', null, null],
    );
    const occupants = await scene.db.rows(
      'select nick, role, affiliation from xmpp_room_occupants where room_id = $1 order by nick',
      [id],
    );
    assert.deepEqual(occupants, [
      { nick: 'alice', role: 'participant', affiliation: 'none' },
      { nick: 'bob', role: 'moderator', affiliation: 'owner' },
    ]);
    await bob.do('message', { to: room, type: 'groupchat', subject: 'Tea & biscuits' });
    await scene.db.until("select from xmpp_rooms where id = $1 and subject = 'Tea & biscuits'", [
      id,
    ]);
    bob.send(`<presence to='${room}/robert'/>`);
    await scene.db.until(
      `select from xmpp_room_occupants where room_id = $1 and nick = 'robert'
      and not exists (select from xmpp_room_occupants where room_id = $1 and nick = 'bob')`,
      [id],
    );
    bob.send(`<presence to='${room}/robert'><show>away</show><status>out</status></presence>`);
    await scene.db.until(
      `select from xmpp_room_occupants where room_id = $1 and nick = 'robert' and show = 'away'
      and status = 'out'`,
      [id],
    );
    bob.send(`<presence to='${room}/robert' type='unavailable'/>`);
    await scene.db.until('select from xmpp_rooms where id = $1 and occupants = 1', [id]);
    assert.equal(
      (await scene.db.rows('select from xmpp_rx_queue where message_from like $1', [`${room}%`]))
        .length,
      0,
    );
  });

  test('messages go both ways, and a row is submitted once the room has shown it', async () => {
    const { room } = await join();
    const sent = await say(room, 'to all');
    const shown = await bob.waitFor(hasBody('to all'));
    assert.equal(shown.element.attrs.from, `${room}/alice`);
    const row = await scene.untilState(sent, 'submitted');
    assert.equal(row.stanza_id, shown.element.find('origin-id')?.attrs.id);
    assert.deepEqual([row.delivered_at, row.submission_info], [null, null]);
    await bob.do('message', { to: room, type: 'groupchat', body: 'to you' });
    const received = await untilReceived('to you');
    assert.equal(received.message_from, `${room}/bob`);
    assert.ok(received.archive_id);
    assert.equal(received.delayed_at, null);
    await bob.do('message', { to: `${room}/alice`, type: 'chat', body: 'to you alone' });
    assert.equal((await untilReceived('to you alone')).message_from, `${room}/bob`);
    const aside = await say(`${room}/bob`, 'for you alone', { message_type: 'chat' });
    await bob.waitFor(hasBody('for you alone'));
    await scene.untilState(aside, 'submitted');
    const raw = await scene.insert({
      account_id: alice,
      message_stanza: `<message to='${room}' type='groupchat'><body>raw</body></message>`,
    });
    await bob.waitFor(hasBody('raw'));
    await scene.untilState(raw, 'submitted');
    assert.equal((await countOf('to all')).length, 0, 'own messages are not received ones');
  });

  test('what was said before the first entering is not received', async () => {
    const room = await openRoom();
    await bob.do('message', { to: room, type: 'groupchat', body: 'before' });
    await bob.waitFor(hasBody('before'));
    const id = await addRow(room);
    await untilRoom(id, 'joined');
    await bob.do('message', { to: room, type: 'groupchat', body: 'after' });
    await untilReceived('after');
    assert.equal((await countOf('before')).length, 0);
  });

  test('a row that is committed with its room waits for it; one to no room fails', async () => {
    const room = await openRoom();
    await scene.db.rows('begin');
    const sent = await say(room, 'together');
    await addRow(room);
    await scene.db.rows('commit');
    await bob.waitFor(hasBody('together'), 10_000);
    await scene.untilState(sent, 'submitted');
    const lost = await say(`nowhere@${scene.server.roomsDomain}`, 'lost');
    const row = await scene.untilState(lost, 'failed');
    assert.match(
      row.submission_info ?? '',
      /^not-acceptable: the room nowhere@.* is not in xmpp_rooms/,
    );
  });

  /** The server forgets the daemon's stream while it is away; until the proxy lets it in again. */
  const loseStream = async () => {
    proxy.refuse('on');
    proxy.reset();
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'backoff'", [alice]);
    const other = await scene.addClient('alice', { resource: 'rowgram', presence: false });
    await other.close();
  };
  /** An account of another daemon, whose connection goes through the proxy, too. */
  const addElsewhere = async (db: TestDatabase, name: string): Promise<number> => {
    const client = await scene.addClient(name, { presence: false });
    await client.close();
    return insertInto(db, 'xmpp_accounts', {
      enabled: true,
      acc_jid: `${name}@${scene.server.domain}`,
      acc_pass: PASSWORD,
      srv_host: proxy.host,
      srv_port: proxy.port,
    });
  };
  const untilShown = async (room: string, count: number, nick = 'alice') => {
    const giveUpAt = Date.now() + 15_000;
    while (bodiesFrom(`${room}/${nick}`).length < count && Date.now() < giveUpAt) await delay(10);
  };
  const streamOf = async () =>
    (
      await scene.db.rows<{ id: string }>(
        'select sm_id as id from xmpp_streams where account_id = $1',
        [alice],
      )
    )[0]?.id;

  const refusals: [what: string, config: Record<string, string>, info: RegExp][] = [
    ['members only', { 'muc#roomconfig_membersonly': '1' }, /for members only/],
    [
      'a password',
      { 'muc#roomconfig_passwordprotectedroom': '1', 'muc#roomconfig_roomsecret': 'open' },
      /wants a password/,
    ],
  ];
  for (const [what, config, info] of refusals) {
    test(`a refusal is told in words: ${what}`, async () => {
      const room = await openRoom();
      await configure(room, config);
      const id = await addRow(room);
      const row = await untilRoom(id, 'refused');
      assert.match(row.state_info ?? '', info);
      assert.deepEqual([row.next_try_at, row.occupants], [null, 0]);
      const lost = await say(room, `refused ${what}`);
      assert.match((await scene.untilState(lost, 'failed')).submission_info ?? '', info);
    });
  }

  test('a wrong password is told so, and a right one lets in', async () => {
    const room = await openRoom();
    await configure(room, {
      'muc#roomconfig_passwordprotectedroom': '1',
      'muc#roomconfig_roomsecret': 'open <sesame>'.replace(/[<>]/g, ''),
    });
    const id = await addRow(room, { password: 'wrong' });
    assert.match((await untilRoom(id, 'refused')).state_info ?? '', /not that of the room/);
    await scene.db.rows("update xmpp_rooms set password = 'open sesame' where id = $1", [id]);
    await untilRoom(id, 'joined');
  });

  test('the banned stay out, and those who are no room are told so', async () => {
    const room = await openRoom();
    await moderate(room, `<item affiliation='outcast' jid='alice@${scene.server.domain}'/>`);
    const banned = await addRow(room);
    assert.match((await untilRoom(banned, 'refused')).state_info ?? '', /banned/);
    const person = await addRow(`bob@${scene.server.domain}`);
    assert.match(
      (await untilRoom(person, 'refused')).state_info ?? '',
      /no room|service-unavailable|subscription-required/,
    );
    const malformed = await addRow('no jid@');
    await untilRoom(malformed, 'refused');
    const service = await addRow(scene.server.roomsDomain);
    assert.match((await untilRoom(service, 'refused')).state_info ?? '', /name@service/);
    const twice = await addRow(room.toUpperCase());
    assert.match((await untilRoom(twice, 'refused')).state_info ?? '', /another row/);
    await scene.db.rows('delete from xmpp_rooms where id = any($1)', [
      [person, malformed, service, twice],
    ]);
  });

  test('a nick of another is refused; it is changed by the row', async () => {
    const room = await openRoom();
    const id = await addRow(room, { nick: 'bob' });
    assert.match((await untilRoom(id, 'refused')).state_info ?? '', /nick 'bob' is taken/);
    await scene.db.rows("update xmpp_rooms set nick = 'ali' where id = $1", [id]);
    assert.equal((await untilRoom(id, 'joined')).own_nick, 'ali');
    await scene.db.rows("update xmpp_rooms set nick = 'alison' where id = $1", [id]);
    await scene.db.until(
      "select from xmpp_rooms where id = $1 and own_nick = 'alison' and state = 'joined' and occupants = 2",
      [id],
    );
    await scene.db.rows("update xmpp_rooms set nick = 'bob' where id = $1", [id]);
    const row = await scene.db.until<RoomRow>(
      "select * from xmpp_rooms where id = $1 and state_info is not null and state = 'joined'",
      [id],
    );
    assert.match(row.state_info ?? '', /nick 'bob' is taken/);
    assert.equal(row.own_nick, 'alison');
    const sent = await say(room, 'by another nick');
    await scene.untilState(sent, 'submitted');
    assert.deepEqual(bodiesFrom(`${room}/alison`), ['by another nick']);
  });

  test('a room is left when its row is disabled or deleted, and entered again', async () => {
    const { room, id } = await join();
    const gone = () => bob.waitFor(isFrom(`${room}/alice`, 'unavailable'));
    await scene.db.rows('update xmpp_rooms set enabled = false where id = $1', [id]);
    await gone();
    const row = await untilRoom(id, 'left');
    assert.deepEqual([row.occupants, row.own_nick, row.role], [0, null, null]);
    const lost = await say(room, 'to a room that was left');
    assert.match((await scene.untilState(lost, 'failed')).submission_info ?? '', /row is disabled/);
    await scene.db.rows('update xmpp_rooms set enabled = true where id = $1', [id]);
    await untilRoom(id, 'joined');
    await scene.db.rows('delete from xmpp_rooms where id = $1', [id]);
    await gone();
    await scene.db.until('select where not exists (select from xmpp_archives where jid = $1)', [
      room,
    ]);
  });

  test('the kicked stay out until the row is written to; so do those of a destroyed room', async () => {
    const { room, id } = await join();
    await moderate(room, "<item nick='alice' role='none'><reason>too loud</reason></item>");
    const row = await untilRoom(id, 'refused');
    assert.match(row.state_info ?? '', /^kicked( by bob\S*)?: too loud$/);
    assert.equal(row.occupants, 0);
    await scene.db.rows('update xmpp_rooms set enabled = true where id = $1', [id]);
    await untilRoom(id, 'joined');
    await bob.iq(
      `<iq type='set' id='d${room}' to='${room}'><query xmlns='${NS_OWNER}'>` +
        `<destroy jid='next@${scene.server.roomsDomain}'><reason>moved</reason></destroy></query></iq>`,
    );
    const destroyed = await untilRoom(id, 'refused');
    assert.match(destroyed.state_info ?? '', /^the room was destroyed, go to next@\S+: moved$/);
  });

  test('a room that entering makes is opened', async () => {
    const room = `made${Date.now()}@${scene.server.roomsDomain}`;
    const id = await addRow(room);
    assert.equal((await untilRoom(id, 'joined')).affiliation, 'owner');
    await scene.untilState(await say(room, 'first'), 'submitted');
    // Locked, it would be found by nobody.
    await bob.do('join', { room, nick: 'bob' });
  });

  test('visitors may not speak: the row fails with what the room says', async () => {
    const room = await openRoom();
    await configure(room, { 'muc#roomconfig_moderatedroom': '1', members_by_default: '0' });
    const id = await addRow(room);
    await untilRoom(id, 'joined');
    await moderate(room, "<item nick='alice' role='visitor'/>");
    await scene.db.until("select from xmpp_rooms where id = $1 and role = 'visitor'", [id]);
    const sent = await say(room, 'muted');
    assert.match((await scene.untilState(sent, 'failed')).submission_info ?? '', /forbidden/);
  });

  test('after a lost stream the room is entered again, with what was said meanwhile', async () => {
    const { room, id } = await join();
    const stream = await streamOf();
    await bob.do('message', { to: room, type: 'groupchat', body: `kept ${room}` });
    await untilReceived(`kept ${room}`);
    await loseStream();
    for (let count = 0; count < 30; count += 1) {
      await bob.do('message', { to: room, type: 'groupchat', body: `missed ${count} ${room}` });
    }
    const sent = await say(room, `waiting ${room}`);
    proxy.refuse('off');
    await scene.db.until(
      "select from xmpp_accounts where id = $1 and state = 'online'",
      [alice],
      70_000,
    );
    await scene.untilState(sent, 'submitted');
    assert.notEqual(await streamOf(), stream, 'a new stream');
    await untilRoom(id, 'joined');
    await bob.do('message', { to: room, type: 'groupchat', body: `then ${room}` });
    await untilReceived(`then ${room}`);
    const rows = await scene.db.rows<RxRow>(
      'select * from xmpp_rx_queue where message_from = $1 order by id',
      [`${room}/bob`],
    );
    const missed = Array.from({ length: 30 }, (_, count) => `missed ${count} ${room}`);
    assert.deepEqual(
      rows.map(({ message_body }) => message_body),
      [`kept ${room}`, ...missed, `then ${room}`],
    );
  });

  test('50 messages over a cut connection are shown once each, in order', async () => {
    const { room } = await join();
    const texts = Array.from({ length: 50 }, (_, count) => `cut ${count}`);
    const ids: number[] = [];
    for (const text of texts) {
      ids.push(await say(room, text));
      if (ids.length === 20 || ids.length === 35) proxy.reset();
    }
    for (const id of ids)
      await scene.db.until(
        "select from xmpp_tx_queue where id = $1 and state = 'submitted'",
        [id],
        60_000,
      );
    assert.deepEqual(bodiesFrom(`${room}/alice`), texts);
  });

  test('50 messages over a lost stream are shown once each, in order', async () => {
    const { room } = await join();
    const stream = await streamOf();
    const texts = Array.from({ length: 50 }, (_, count) => `lost ${count}`);
    const ids: number[] = [];
    for (const text of texts) {
      if (ids.length === 25) {
        await untilShown(room, 25);
        // The room shows the rest to all others, and the daemon cannot know.
        proxy.stall('toClient');
      }
      ids.push(await say(room, text));
    }
    await untilShown(room, 50);
    await loseStream();
    proxy.stall('off');
    proxy.refuse('off');
    for (const id of ids)
      await scene.db.until(
        "select from xmpp_tx_queue where id = $1 and state = 'submitted'",
        [id],
        60_000,
      );
    assert.notEqual(await streamOf(), stream, 'a new stream');
    assert.deepEqual(bodiesFrom(`${room}/alice`), texts);
  });

  for (const isResumed of [true, false]) {
    const what = isResumed ? 'the stream goes on' : 'the stream is lost, too';
    test(`50 messages over a kill -9 are shown once each, in order; ${what}`, async () => {
      await using db = await testDatabase();
      const name = isResumed ? 'dora' : 'dave';
      const room = await openRoom();
      const account = await addElsewhere(db, name);
      const killed = spawnDaemon(db.address);
      await insertInto(db, 'xmpp_rooms', { account_id: account, room_jid: room });
      await db.until("select from xmpp_rooms where state = 'joined'", [], 30_000);
      const texts = Array.from({ length: 50 }, (_, count) => `killed ${count}`);
      const sayHere = (message_body: string) =>
        insertInto(db, 'xmpp_tx_queue', {
          message_to: room,
          message_type: 'groupchat',
          message_body,
        });
      for (const text of texts.slice(0, 20)) await sayHere(text);
      await untilShown(room, 20, name);
      proxy.stall('toClient');
      for (const text of texts.slice(20)) await sayHere(text);
      await untilShown(room, 45, name);
      await killed[Symbol.asyncDispose]();
      proxy.stall('off');
      await bob.do('message', { to: room, type: 'groupchat', body: `meanwhile ${name}` });
      if (!isResumed) {
        const other = await scene.addClient(name, { resource: 'rowgram', presence: false });
        await other.close();
      }
      await using _daemon = spawnDaemon(db.address);
      await db.until(
        "select from xmpp_tx_queue having count(*) filter (where state = 'submitted') = 50",
        [],
        60_000,
      );
      await sayHere('the end');
      await untilShown(room, 51, name);
      assert.deepEqual(bodiesFrom(`${room}/${name}`), [...texts, 'the end']);
      await db.until('select from xmpp_rx_queue where message_body = $1', [`meanwhile ${name}`]);
      assert.equal((await db.rows('select from xmpp_rx_queue')).length, 1);
    });
  }

  test('invitations wait for an answer, are accepted or declined', async () => {
    // Not slixmpp, which answers what is declined with an error and is taken out for that.
    const erin = await scene.addClient('erin');
    const room = `erins@${scene.server.roomsDomain}`;
    const request = `<iq type='set' id='open' to='${room}'><query xmlns='${NS_OWNER}'>`;
    erin.send(`<presence to='${room}/erin'><x xmlns='${NS_MUC}'/></presence>`);
    await erin.next(isFrom(`${room}/erin`));
    await erin.iq(`${request}<x xmlns='jabber:x:data' type='submit'/></query></iq>`);
    const invite = (reason: string) =>
      erin.send(
        `<message to='${room}'><x xmlns='${NS_USER}'><invite to='alice@${scene.server.domain}'>` +
          `<reason>${reason}</reason></invite></x></message>`,
      );
    invite('come');
    const row = await scene.db.until<{ id: number; from_jid: string; is_direct: boolean }>(
      "select * from xmpp_room_invites where room_jid = $1 and reason = 'come'",
      [room],
    );
    assert.match(row.from_jid, /^erin@|^erins@.*\/erin$/);
    assert.equal(row.is_direct, false);
    await scene.db.rows("update xmpp_room_invites set answer = 'reject' where id = $1", [row.id]);
    await scene.db.until(
      'select from xmpp_room_invites where id = $1 and answered_at is not null',
      [row.id],
    );
    await erin.next(({ xml }) => xml.includes('<decline'));
    invite('come again');
    await scene.db.until(
      `select from xmpp_room_invites where id = $1 and reason = 'come again' and answer is null
      and answered_at is null`,
      [row.id],
    );
    await scene.db.rows("update xmpp_room_invites set answer = 'accept' where id = $1", [row.id]);
    await scene.db.until("select from xmpp_rooms where room_jid = $1 and state = 'joined'", [room]);

    const other = await openRoom();
    await scene.db.rows("update xmpp_accounts set room_invite_policy = 'accept' where id = $1", [
      alice,
    ]);
    await new Promise((done) => setTimeout(done, 300));
    bob.send(
      `<message to='alice@${scene.server.domain}/rowgram'><x xmlns='jabber:x:conference' jid='${other}'/></message>`,
    );
    await scene.db.until("select from xmpp_rooms where room_jid = $1 and state = 'joined'", [
      other,
    ]);
  });

  test('xmpp_invite invites through the room', async () => {
    const { id, room } = await join();
    // In ejabberd not everybody may invite.
    await configure(room, { 'muc#roomconfig_allowinvites': '1' });
    const carol = await scene.addClient('carol');
    await carol.next(({ element }) => element.name === 'presence');
    await scene.db.rows('set role rowgram_app');
    const [row] = await scene.db.rows<{ id: number }>('select xmpp_invite($1, $2, $3) as id', [
      id,
      carol.jid.split('/')[0],
      "it's <fun>",
    ]);
    await scene.db.rows('reset role');
    await scene.untilState(row?.id ?? 0, 'submitted');
    const { element } = await carol.next(({ xml }) => xml.includes('<invite'));
    assert.equal(element.attrs.from, room);
    assert.equal(element.find('x', NS_USER)?.find('invite')?.find('reason')?.text, "it's <fun>");
  });

  test('an invitation in the name of a room is not believed', async () => {
    const before = await scene.db.rows<{ count: number }>(
      'select spoofed_count as count from xmpp_accounts where id = $1',
      [alice],
    );
    bob.send(
      `<message to='alice@${scene.server.domain}/rowgram'><x xmlns='${NS_USER}'><invite from='eve@x.test'/></x></message>`,
    );
    await scene.db.until('select from xmpp_accounts where id = $1 and spoofed_count > $2', [
      alice,
      before[0]?.count,
    ]);
  });
};

describeEachWithSlixmpp('rooms', holdRooms);
