/** Servers that break the protocol, fall silent or refuse: the account says why, and comes back. */
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { hostileXml } from '../fixtures/hostileXml.ts';
import { type FakeServer, type Script, type Step, startFakeServer } from '../peers/fakeServer.ts';
import type { FakeSession } from '../peers/fakeSession.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { hasBody, insertInto, untilOnline } from '../support/scene.ts';

const TIMING = { loginMs: 1_500, keepAliveMs: 400, patienceMs: 800 };
const NS_BIND = 'urn:ietf:params:xml:ns:xmpp-bind';
const NS_SM = 'urn:xmpp:sm:3';

let db: TestDatabase;
let daemon: TestDaemon;
before(async () => {
  db = await testDatabase();
  daemon = await startDaemon(db.address, TIMING);
});
after(async () => {
  await daemon?.stop();
  await db?.[Symbol.asyncDispose]();
});

/** An account of its own on a server of its own; its connections must all have ended at the end. */
const open = async (t: TestContext, script: Partial<Script> = {}) => {
  const server = await startFakeServer(script);
  const id = await insertInto(db, 'xmpp_accounts', {
    enabled: true,
    acc_jid: 'rowgram@fake.test',
    acc_pass: 'secret',
    srv_host: server.host,
    srv_port: server.port,
  });
  t.after(async () => {
    await db.rows('delete from xmpp_accounts where id = $1', [id]);
    server.change({ silentAt: null });
    await Promise.all(server.sessions.map(({ closed }) => closed));
    await server.stop();
  });
  return { server, id };
};

const untilState = (id: number, state: string, info: string) =>
  db.until<{ next_try_in_s: number | null }>(
    `select extract(epoch from next_try_at - now())::float8 as next_try_in_s
    from xmpp_accounts where id = $1 and state = $2 and state_info like $3`,
    [id, state, `%${info}%`],
  );

const messageOf = (body: string) =>
  `<message from='bob@fake.test/a' to='rowgram@fake.test' type='chat'><body>${body}</body></message>`;

/** The connection works: a message becomes a row, and a row goes out. */
const assertWorks = async (id: number, session: FakeSession, body: string) => {
  await untilOnline(db, id);
  session.send(messageOf(body));
  await db.until('select from xmpp_rx_queue where account_id = $1 and message_body = $2', [
    id,
    body,
  ]);
  const row = await insertRow(id, `answer to ${body}`);
  await session.next(hasBody(`answer to ${body}`));
  await untilSubmitted(row);
};

const insertRow = (account_id: number, message_body: string) =>
  insertInto(db, 'xmpp_tx_queue', { account_id, message_to: 'bob@fake.test', message_body });

const untilSubmitted = (row: number) =>
  db.until("select from xmpp_tx_queue where id = $1 and state = 'submitted'", [row]);

const bodiesOf = (server: FakeServer) =>
  server.sessions.flatMap(({ stanzas }) =>
    stanzas.flatMap(({ element }) =>
      element.name === 'message' ? (element.find('body')?.text ?? []) : [],
    ),
  );

// What is no text at all cannot be sent as one.
const HOSTILE = hostileXml.filter(({ xml }) => xml.isWellFormed());

test('hostile XML ends the connection, and the next one works', { timeout: 60_000 }, async (t) => {
  await Promise.all(
    HOSTILE.map(async ({ xml }, index) => {
      const { server, id } = await open(t);
      const first = await server.waitForSession(1, 30_000);
      await untilOnline(db, id);
      first.write(xml);
      await first.closed;
      await assertWorks(id, await server.waitForSession(2, 20_000), `after ${index}`);
    }),
  );
});

test('a stanza that breaks the stream is not fetched again for ever', async (t) => {
  const { server, id } = await open(t);
  const first = await server.waitForSession(1);
  await untilOnline(db, id);
  first.send('<message><!-- kept by the server --></message>');
  await first.closed;
  await assertWorks(id, await server.waitForSession(2), 'after the comment');
});

test('hostile XML before the login is a reason, and the next try works', async (t) => {
  const { server, id } = await open(t, { silentAt: 'features' });
  const first = await server.waitForConnection(1);
  await first.closed.catch(() => {});
  await untilState(id, 'backoff', '');
  const second = await server.waitForConnection(2);
  second.write('<!DOCTYPE a><a/>');
  await second.closed;
  server.change({ silentAt: null });
  await assertWorks(id, await server.waitForSession(1), 'after the document type');
});

test('bytes that are no UTF-8, and senders that are no JID, do no harm', async (t) => {
  const { server, id } = await open(t);
  const session = await server.waitForSession(1);
  await untilOnline(db, id);
  const [head = '', tail = ''] = messageOf('|').split('|');
  session.write(Buffer.concat([Buffer.from(head), Buffer.from([0xc3, 0x28]), Buffer.from(tail)]));
  for (const from of [
    '@@',
    '',
    ' ',
    'a@b@c/',
    '<&>"'.replace(/[<&"]/g, (c) => `&#${c.charCodeAt(0)};`),
  ]) {
    session.send(`<message from='${from}'><body>from nobody</body></message>`);
    session.send(`<message from='${from}' type='error' id='x'/>`);
    session.send(`<presence from='${from}' type='subscribe'/>`);
    session.send(`<iq from='${from}' type='result' id='x'/>`);
  }
  const last = server.sessions.at(-1) ?? session;
  await assertWorks(id, last, 'after the senders');
  const rows = await db.rows("select from xmpp_rx_queue where message_body = 'from nobody'");
  assert.equal(rows.length, 5);
});

test('an acknowledgement of more than was sent does no harm', async (t) => {
  const { server, id } = await open(t);
  const session = await server.waitForSession(1);
  await untilOnline(db, id);
  for (const h of ['999', '-1', 'x', '4294967295', '4294967296', '0']) {
    session.write(`<a xmlns='${NS_SM}' h='${h}'/>`);
  }
  session.write(`<a xmlns='${NS_SM}'/>`);
  await assertWorks(id, server.sessions.at(-1) ?? session, 'after the counts');
});

test('a stream error becomes the state and its reason', async (t) => {
  const cases = [
    { condition: 'conflict', state: 'conflict', atLeastS: 25 },
    { condition: 'resource-constraint', state: 'backoff', atLeastS: 25 },
    { condition: 'system-shutdown', state: 'backoff', atLeastS: 0 },
    { condition: 'policy-violation', state: 'backoff', atLeastS: 0 },
    { condition: 'not-well-formed', state: 'backoff', atLeastS: 0 },
    { condition: 'host-gone', state: 'backoff', atLeastS: 0 },
  ];
  await Promise.all(
    cases.map(async ({ condition, state, atLeastS }) => {
      const { server, id } = await open(t);
      const session = await server.waitForSession(1);
      await untilOnline(db, id);
      server.change({ silentAt: 'header' });
      session.streamError(condition);
      const { next_try_in_s } = await untilState(id, state, condition);
      assert.ok((next_try_in_s ?? -9) > atLeastS - 2, `${condition}: ${next_try_in_s}`);
    }),
  );
});

test('without stream management a row is submitted when a ping behind it is answered', async (t) => {
  const { server, id } = await open(t, { streamManagement: 'absent' });
  const session = await server.waitForSession(1);
  await untilOnline(db, id);
  server.change({ silentAt: 'results' });
  const row = await insertRow(id, 'not yet');
  const sent = await session.next(hasBody('not yet'));
  const ping = await session.next(
    ({ element, at }) => element.find('ping') !== null && at >= sent.at,
  );
  const select = 'select state from xmpp_tx_queue where id = $1';
  assert.deepEqual(await db.rows(select, [row]), [{ state: 'queued' }]);
  server.change({ silentAt: null });
  session.send(`<iq type='result' id='${ping.element.attrs.id}'/>`);
  await untilSubmitted(row);
  await assertWorks(id, session, 'uncounted');
});

const STEPS: Step[] = [
  'header',
  'features',
  'challenge',
  'success',
  'features after login',
  'bound',
  'enabled',
];

test('a server that falls silent at any step of the login is left with a reason', async (t) => {
  await Promise.all(
    STEPS.map(async (silentAt) => {
      const { server, id } = await open(t, { silentAt });
      await untilState(id, 'backoff', 'gave no answer within');
      const [first] = server.sessions;
      await first?.closed;
      server.change({ silentAt: null });
      await server.waitForSession(silentAt === 'enabled' ? 2 : 1, 10_000);
      await untilOnline(db, id);
      const last = server.sessions.at(-1);
      assert.ok(last);
      await assertWorks(id, last, `after ${silentAt}`);
    }),
  );
});

test('a server that stops acknowledging is left, and the row goes again with its id', async (t) => {
  const { server, id } = await open(t, { resumption: 'refused' });
  const first = await server.waitForSession(1);
  await untilOnline(db, id);
  server.change({ silentAt: 'acks' });
  const row = await insertRow(id, 'unacknowledged');
  const sent = await first.next(hasBody('unacknowledged'));
  await untilState(id, 'backoff', 'has not answered for');
  server.change({ silentAt: null });
  const again = await (await server.waitForSession(2)).next(hasBody('unacknowledged'));
  assert.equal(again.element.attrs.id, sent.element.attrs.id);
  await untilSubmitted(row);
});

for (const resumption of ['accepted', 'counted'] as const) {
  test(`what a lost stream has handled is not sent again when resumption is ${resumption} (XEP-0198 §5)`, async (t) => {
    const { server, id } = await open(t, { resumption });
    const first = await server.waitForSession(1);
    await untilOnline(db, id);
    server.change({ silentAt: 'acks' });
    const rows = [await insertRow(id, 'handled 1'), await insertRow(id, 'handled 2')];
    await first.next(hasBody('handled 2'));
    first.reset();
    server.change({ silentAt: null });
    for (const row of rows) await untilSubmitted(row);
    await assertWorks(id, await server.waitForSession(2), resumption);
    assert.deepEqual(
      bodiesOf(server).filter((body) => body.startsWith('handled')),
      ['handled 1', 'handled 2'],
    );
  });
}

test('a refused resource is a reason, and is asked for again', async (t) => {
  let refusals = 0;
  const { server, id } = await open(t, {
    onStanza(session, { element }) {
      if (!element.find('bind', NS_BIND) || refusals > 0) return 'unhandled';
      refusals += 1;
      session.write(
        `<iq type='error' id='${element.attrs.id}'><error type='cancel'>` +
          `<conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`,
      );
      return 'handled';
    },
  });
  await untilState(id, 'backoff', 'did not bind the resource: conflict');
  await assertWorks(id, await server.waitForSession(1), 'bound at last');
});

test('a stream error in one packet with the last answer of the login is seen', async (t) => {
  let errors = 0;
  const { server, id } = await open(t, {
    onStanza(session, { element }) {
      if (element.name !== 'enable' || errors > 0) return 'unhandled';
      errors += 1;
      session.write(
        `<enabled xmlns='${NS_SM}' id='x' resume='true'/><stream:error>` +
          `<system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>`,
      );
      return 'handled';
    },
  });
  await untilState(id, 'backoff', 'system-shutdown');
  await assertWorks(id, await server.waitForSession(2), 'after the shutdown');
});

test('a stream whose resumption ends in an error is given up', async (t) => {
  const { server, id } = await open(t, {
    onStanza(session, { element }) {
      if (element.name !== 'resume') return 'unhandled';
      session.streamError('undefined-condition');
      return 'handled';
    },
  });
  const first = await server.waitForSession(1);
  await untilOnline(db, id);
  first.reset();
  await assertWorks(id, await server.waitForSession(2), 'bound anew');
});
