/** Rows that cannot be sent fail with their reason, and their neighbours never notice. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hostileXml } from '../fixtures/hostileXml.ts';
import type { RawClient } from '../peers/rawClient.ts';
import { createSink } from '../peers/sink.ts';
import {
  createScene,
  describeEach,
  hasBody,
  insertInto,
  PASSWORD,
  type Peer,
  type Scene,
} from '../support/scene.ts';

type Bad = { what: string; columns: Record<string, unknown>; info: RegExp };

const bob = 'bob@localhost';
const stanza = (message_stanza: string) => ({ message_to: bob, message_stanza });

const BAD: Bad[] = [
  {
    what: 'U+0001 in the body',
    columns: { message_to: bob, message_body: 'a\u0001b' },
    info: /message_body has the character U\+0001 at position 2/,
  },
  {
    what: 'U+FFFE in the subject',
    columns: { message_to: bob, message_subject: '\ufffe' },
    info: /message_subject has the character U\+FFFE/,
  },
  {
    what: 'U+000B in the thread',
    columns: { message_to: bob, message_body: 'x', thread: '\v' },
    info: /thread has the character U\+000B/,
  },
  {
    what: 'U+001B in the language',
    columns: { message_to: bob, message_body: 'x', lang: '\u001b' },
    info: /lang has the character U\+001B/,
  },
  {
    what: 'a body that is too long',
    columns: { message_to: bob, message_body: 'ы'.repeat(130_000) },
    info: /policy-violation: the message is 26\d{4} bytes, .*max_stanza_bytes/,
  },
  { what: 'no recipient', columns: { message_body: 'x' }, info: /message_to is empty/ },
  {
    what: 'an empty recipient',
    columns: { message_to: '', message_body: 'x' },
    info: /message_to is empty/,
  },
  ...[' ', '@localhost', 'bob@', 'b b@localhost', 'bob@local host', 'bob@localhost/'].map(
    (message_to) => ({
      what: `the recipient '${message_to}'`,
      columns: { message_to, message_body: 'x' },
      info: /^jid-malformed: message_to /,
    }),
  ),
  {
    what: 'an account that is not there',
    columns: { message_to: bob, message_body: 'x', account_id: 987_654 },
    info: /there is no account 987654/,
  },
  { what: 'an empty stanza', columns: stanza(''), info: /bad-request|not-well-formed/ },
  { what: 'half a stanza', columns: stanza(`<message to='${bob}'>`), info: /unclosed tag/ },
  {
    what: 'two stanzas',
    columns: stanza(`<message to='${bob}'/><message to='${bob}'/>`),
    info: /not-well-formed|bad-request/,
  },
  {
    what: 'the end of the stream',
    columns: stanza(`<message to='${bob}'/></stream:stream>`),
    info: /not-well-formed|bad-/,
  },
  { what: 'an iq', columns: stanza(`<iq to='${bob}' type='set' id='x'/>`), info: /no <message\/>/ },
  {
    what: 'a message of another namespace',
    columns: stanza(`<message xmlns='jabber:server' to='${bob}'/>`),
    info: /no <message\/>/,
  },
  {
    what: 'an error',
    columns: stanza(`<message to='${bob}' type='error'/>`),
    info: /has the type 'error'/,
  },
  {
    what: 'a stanza to nobody',
    columns: stanza('<message/>'),
    info: /message_stanza's to is empty/,
  },
  ...hostileXml
    .filter(({ xml }) => xml.isWellFormed() && !xml.includes('\0'))
    .map(({ what, xml }) => ({ what, columns: stanza(xml), info: /^[a-z-]+: / })),
];

const holdBadRows = (peer: Peer) => {
  let scene: Scene;
  let client: RawClient;
  let sender: number;
  before(async () => {
    scene = await createScene(peer);
    sender = await scene.addAccount('sender');
    client = await scene.addClient('bob');
  });
  after(() => scene?.close());

  const selectStream = async (): Promise<unknown> =>
    (await scene.db.rows('select sm_id from xmpp_streams where account_id = $1', [sender]))[0];

  test('each bad row fails with its reason, a good row behind it arrives, the stream stays', async () => {
    const stream = await selectStream();
    assert.ok(stream);
    await scene.db.rows('begin');
    const ids: number[] = [];
    for (const { columns } of BAD) ids.push(await scene.insert(columns));
    const good = await scene.insert({ message_to: bob, message_body: 'good' });
    await scene.db.rows('commit');
    await client.next(hasBody('good'));
    await scene.untilState(good, 'submitted');
    for (const [index, { what, info }] of BAD.entries()) {
      const row = await scene.untilState(ids[index] ?? 0, 'failed');
      assert.match(row.submission_info ?? '', info, what);
      assert.deepEqual([row.submission_failed, row.stanza_id], [true, null], what);
    }
    assert.equal(client.stanzas.filter(({ element }) => element.name === 'message').length, 1);
    assert.deepEqual(await selectStream(), stream);
  });

  test('the row of a disabled account waits with its reason, and goes when it is enabled', async () => {
    const other = await scene.addAccount('other', { enabled: false });
    const columns = { message_to: bob, message_body: 'patience' };
    const id = await scene.insert({ ...columns, account_id: other });
    await scene.db.until(
      "select from xmpp_tx_queue where id = $1 and state = 'queued' and submission_info like '%is disabled'",
      [id],
    );
    await scene.db.rows('update xmpp_accounts set enabled = true where id = $1', [other]);
    await client.next(hasBody('patience'));
    assert.equal((await scene.untilState(id, 'submitted')).submission_info, null);
  });

  test('the rows without an account wait for the default one while it is disabled', async () => {
    const id = await scene.addAccount('chosen', { is_default: true });
    await scene.db.rows('update xmpp_accounts set enabled = false where id = $1', [id]);
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'off'", [id]);
    const row = await scene.insert({ message_to: bob, message_body: 'by the chosen one' });
    await scene.db.until(
      "select from xmpp_tx_queue where id = $1 and submission_info like '%is disabled'",
      [row],
    );
    await scene.db.rows('update xmpp_accounts set enabled = true where id = $1', [id]);
    const { element } = await client.next(hasBody('by the chosen one'));
    assert.match(element.attrs.from ?? '', /^chosen@/);
    await scene.db.rows('delete from xmpp_accounts where id = $1', [id]);
  });

  test('the backlog of an account that is disabled is told so', async () => {
    const account_id = await insertInto(scene.db, 'xmpp_accounts', {
      enabled: true,
      acc_jid: 'absent@localhost',
      srv_host: '127.0.0.1',
      srv_port: 1,
    });
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'backoff'", [
      account_id,
    ]);
    const id = await scene.insert({ account_id, message_to: bob, message_body: 'backlog' });
    await scene.db.rows('update xmpp_accounts set enabled = false where id = $1', [account_id]);
    await scene.db.until(
      "select from xmpp_tx_queue where id = $1 and submission_info like '%is disabled'",
      [id],
    );
    await scene.db.rows('delete from xmpp_accounts where id = $1', [account_id]);
    assert.match((await scene.untilState(id, 'failed')).submission_info ?? '', /no account/);
  });

  test('an account and its first rows can come in one transaction', async () => {
    await scene.server.addAccount('newcomer', PASSWORD);
    for (let round = 0; round < 5; round += 1) {
      const { rows } = await scene.db.client.query<{ id: number }>(
        `with account as (
          insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host, srv_port)
          values (true, 'newcomer@localhost', $1, $2, $3) returning id)
        insert into xmpp_tx_queue (account_id, message_to, message_body)
        select id, $4, 'newcomer ' || $5 from account returning id`,
        [PASSWORD, scene.server.host, scene.server.port, bob, `${round}`],
      );
      await scene.untilState(rows[0]?.id ?? 0, 'submitted');
      await client.next(hasBody(`newcomer ${round}`));
      await scene.db.rows("delete from xmpp_accounts where acc_jid = 'newcomer@localhost'");
    }
  });

  test('a row that the server ends the stream for fails, and its neighbours arrive', async () => {
    const columns = { resource: 'heavy', max_stanza_bytes: 1_000_000 };
    const account_id = await scene.addAccount('heavy', columns);
    const sink = createSink(client);
    const insert = (message_body: string) =>
      scene.insert({ account_id, message_to: bob, message_body });
    await scene.db.rows('begin');
    const neighbours: number[] = [];
    const bodies: string[] = [];
    for (let n = 0; n < 6; n += 1) {
      bodies.push(`neighbour ${n}`);
      neighbours.push(await insert(`neighbour ${n}`));
      if (n === 2) neighbours.push(await insert('!'.repeat(400_000)));
    }
    await scene.db.rows('commit');
    const [poison = 0] = neighbours.splice(3, 1);
    const failed = await scene.untilState(poison, 'failed');
    assert.match(failed.submission_info ?? '', /the server ended the stream: policy-violation/);
    await sink.waitFor(bodies, 10_000);
    for (const id of neighbours) await scene.untilState(id, 'submitted');
    for (const { ids } of sink.duplicates()) assert.equal(new Set(ids).size, 1);
    const order = { key: 'neighbour ' };
    const place = ({ body }: { body: string }) =>
      body.startsWith(order.key) ? { stream: 'heavy', number: Number(body.at(-1)) } : null;
    assert.deepEqual(sink.outOfOrder(place), []);
  });
};

describeEach('bad rows', holdBadRows);
