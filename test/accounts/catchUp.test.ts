/** Reading on in the archive, on a server that does what real ones seldom do at the worst moment. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  archiveIdOf,
  createFakeArchive,
  type FakeArchive,
  formatResult,
} from '../peers/fakeArchive.ts';
import { startFakeServer } from '../peers/fakeServer.ts';
import type { FakeSession } from '../peers/fakeSession.ts';
import { startDaemon } from '../support/daemon.ts';
import { testDatabase } from '../support/database.ts';
import { insertInto } from '../support/scene.ts';

const TIMING = { loginMs: 3_000, keepAliveMs: 400, patienceMs: 1_000 };
/** Others may be at work on the machine. */
const SLOW_MS = 30_000;
const OWN = 'rowgram@fake.test';
const BOB = 'bob@fake.test/x';
const NS_SID = 'urn:xmpp:sid:0';
const OFFLINE = `<delay xmlns='urn:xmpp:delay' from='fake.test' stamp='2026-01-01T00:00:00Z'/>`;

const messageOf = (body: string, content = '') =>
  `<message xmlns='jabber:client' type='chat' from='${BOB}' to='${OWN}' id='id-${body}'>` +
  `<body>${body}</body>${content}</message>`;
const idBy = (at: number, by = OWN) =>
  `<stanza-id xmlns='${NS_SID}' by='${by}' id='${archiveIdOf(at)}'/>`;
const bodies = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => `${from + at}`);

const open = async (t: TestContext, archive: FakeArchive) => {
  const db = await testDatabase();
  const server = await startFakeServer({ resumption: 'refused', onStanza: archive.onStanza });
  const account = await insertInto(db, 'xmpp_accounts', {
    enabled: true,
    acc_jid: OWN,
    acc_pass: 'secret',
    srv_host: server.host,
    srv_port: server.port,
  });
  const daemon = await startDaemon(db.address, TIMING);
  t.after(async () => {
    await daemon.stop();
    await server.stop();
    await db[Symbol.asyncDispose]();
  });
  const untilCursor = (id: string | null) =>
    db.until(
      'select from xmpp_archives where account_id = $1 and jid = $2 and archive_id is not distinct from $3',
      [account, OWN, id],
    );
  const untilBody = (body: string) =>
    db.until('select from xmpp_rx_queue where message_body = $1', [body]);
  const readBodies = async () => {
    const rows = await db.rows<{ body: string }>(
      'select message_body as body from xmpp_rx_queue order by id',
    );
    return rows.map(({ body }) => body);
  };
  const readSpoofed = async () => {
    const [row] = await db.rows<{ count: number }>(
      'select spoofed_count as count from xmpp_accounts',
    );
    return row?.count;
  };
  return { db, server, account, untilCursor, untilBody, readBodies, readSpoofed };
};

/** Logged in once with that many messages in the archive, then cut off while the rest came. */
const openBehind = async (t: TestContext, archive: FakeArchive, known: number, all: number) => {
  archive.messages.push(...bodies(1, known).map((body) => messageOf(body)));
  const scene = await open(t, archive);
  const first = await scene.server.waitForSession(1, SLOW_MS);
  await scene.untilCursor(known === 0 ? null : archiveIdOf(known - 1));
  archive.messages.push(...bodies(known + 1, all).map((body) => messageOf(body)));
  return { ...scene, first };
};

test('the first login begins at the end of the archive, later ones where the last one was', async (t) => {
  const archive = createFakeArchive(OWN);
  const { first, untilCursor, untilBody, readBodies, server } = await openBehind(
    t,
    archive,
    3,
    253,
  );
  assert.deepEqual(await readBodies(), []);
  first.reset();
  await untilBody('253');
  assert.deepEqual(await readBodies(), bodies(4, 253));
  await untilCursor(archiveIdOf(252));
  assert.equal(archive.queries.length, 4);
  // A message that comes live moves it on.
  archive.messages.push(messageOf('live'));
  const second = server.sessions.at(-1) ?? first;
  second.send(messageOf('live', idBy(253)));
  await untilCursor(archiveIdOf(253));
});

test('an archive that was empty is read from its start', async (t) => {
  const archive = createFakeArchive(OWN);
  const { first, untilBody, readBodies } = await openBehind(t, archive, 0, 5);
  first.reset();
  await untilBody('5');
  assert.deepEqual(await readBodies(), bodies(1, 5));
});

test('what comes while the archive is read stands behind it, once', async (t) => {
  const archive = createFakeArchive(OWN);
  const { first, db, untilBody, readBodies } = await openBehind(t, archive, 1, 250);
  let pages = 0;
  archive.onPage = (session) => {
    pages += 1;
    if (pages === 1) {
      // The offline store, whose messages are in the archive, too; one is new.
      for (const at of [1, 2, 150]) session.send(messageOf(`${at + 1}`, idBy(at) + OFFLINE));
      archive.messages.push(messageOf('new'));
      session.send(messageOf('new', idBy(250)));
      session.send(messageOf('unarchived'));
    }
  };
  first.reset();
  await untilBody('new');
  await db.rows('select pg_sleep(0.2)');
  const rows = await readBodies();
  assert.deepEqual(
    rows.filter((body) => body !== 'unarchived'),
    [...bodies(2, 250), 'new'],
  );
  assert.equal(rows.filter((body) => body === 'unarchived').length, 1);
});

test('what only came live, after the last page was made, is not lost', async (t) => {
  const archive = createFakeArchive(OWN);
  const { first, untilBody, untilCursor, readBodies } = await openBehind(t, archive, 1, 5);
  archive.onPage = (session) => session.send(messageOf('late', idBy(5)));
  first.reset();
  await untilBody('late');
  assert.deepEqual(await readBodies(), [...bodies(2, 5), 'late']);
  await untilCursor(archiveIdOf(5));
});

test('an offline store that does not say archive ids brings nothing twice', async (t) => {
  const archive = createFakeArchive(OWN);
  const { first, server, untilBody, readBodies } = await openBehind(t, archive, 1, 5);
  // Half of it before the archive is read, half of it after.
  archive.isSilent = true;
  first.reset();
  const second = await server.waitForSession(2, SLOW_MS);
  await second.next(({ element }) => element.find('query', 'urn:xmpp:mam:2') !== null, SLOW_MS);
  for (const body of ['2', '3']) second.send(messageOf(body, OFFLINE));
  await untilBody('3');
  archive.isSilent = false;
  const [query] = archive.queries.splice(-1);
  assert.ok(query);
  archive.onStanza(second, query);
  await untilBody('5');
  for (const body of ['4', '5', 'only offline']) second.send(messageOf(body, OFFLINE));
  await untilBody('only offline');
  assert.deepEqual(await readBodies(), [...bodies(2, 5), 'only offline']);
});

test('a stream that is lost in the middle of a page loses and repeats nothing', async (t) => {
  const archive = createFakeArchive(OWN);
  const { first, untilBody, readBodies } = await openBehind(t, archive, 1, 350);
  let pages = 0;
  archive.onPage = (session) => {
    pages += 1;
    if (pages === 2 || pages === 4) session.reset();
  };
  first.reset();
  await untilBody('350');
  assert.deepEqual(await readBodies(), bodies(2, 350));
});

test('two copies of a message in one batch are one row', async (t) => {
  const archive = createFakeArchive(OWN);
  const { first, untilBody, readBodies } = await openBehind(t, archive, 0, 0);
  first.send(messageOf('twice', idBy(0)) + messageOf('twice', idBy(0)) + messageOf('end'));
  await untilBody('end');
  assert.deepEqual(await readBodies(), ['twice', 'end']);
});

test('forged results are counted and change nothing, though a query is under way', async (t) => {
  const archive = createFakeArchive(OWN);
  const { first, untilBody, untilCursor, readBodies, readSpoofed } = await openBehind(
    t,
    archive,
    1,
    3,
  );
  const forge = (session: FakeSession, queryId: string) => {
    const forged = messageOf('forged');
    const result = (from: string, of: string) =>
      formatResult(forged, { id: 'x', queryId: of, from });
    session.send(result(BOB, queryId));
    session.send(result(`${OWN}/other`, queryId));
    session.send(result('fake.test', queryId));
    session.send(result(OWN, `${queryId}x`));
    session.send(result('', ''));
  };
  archive.onPage = (session, query) => forge(session, query.attrs.queryid ?? '');
  first.reset();
  await untilCursor(archiveIdOf(2));
  await untilBody('3');
  assert.deepEqual(await readBodies(), ['2', '3']);
  assert.equal(await readSpoofed(), 5);
});

test('a server that says over and over that there is more is not asked for ever', async (t) => {
  const archive = createFakeArchive(OWN);
  const { first, server, untilBody } = await openBehind(t, archive, 1, 3);
  server.change({
    onStanza(session, stanza) {
      const { element } = stanza;
      if (!element.find('query', 'urn:xmpp:mam:2')) return archive.onStanza(session, stanza);
      archive.queries.push(stanza);
      session.send(
        `<iq type='result' id='${element.attrs.id}'><fin xmlns='urn:xmpp:mam:2'>` +
          `<set xmlns='http://jabber.org/protocol/rsm'><last>${archiveIdOf(0)}</last></set></fin></iq>`,
      );
      return 'handled';
    },
  });
  const before = archive.queries.length;
  first.reset();
  const second = await server.waitForSession(2, SLOW_MS);
  await second.next(({ element }) => element.find('query', 'urn:xmpp:mam:2') !== null, SLOW_MS);
  second.send(messageOf('live', idBy(7)));
  await untilBody('live');
  assert.equal(archive.queries.length - before, 1);
});

test('an account without presence reads nothing', async (t) => {
  const archive = createFakeArchive(OWN);
  const { db, first, untilBody, readBodies } = await openBehind(t, archive, 1, 3);
  await db.rows('update xmpp_accounts set priority = null');
  await first.next(({ element }) => element.attrs.type === 'unavailable');
  first.reset();
  await db.until("select from xmpp_accounts where state = 'backoff'");
  await db.until("select from xmpp_accounts where state = 'online'");
  assert.deepEqual(await readBodies(), []);
  await db.rows('update xmpp_accounts set priority = 0');
  await untilBody('3');
  assert.deepEqual(await readBodies(), ['2', '3']);
});
