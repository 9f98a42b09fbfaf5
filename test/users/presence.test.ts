/** openfire_users tells who is online, as the accounts on the same server see it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { urlWithSchema } from '../../src/db/connect.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { createScene, PROSODY, SLIXMPP_SKIP } from '../support/scene.ts';

const skip = PROSODY.skip || SLIXMPP_SKIP;

test('a user whom an account has as a contact is shown to come and go', { skip }, async () => {
  const scene = await createScene(PROSODY);
  try {
    const { db, server } = scene;
    await db.rows('update rowgram_settings set users_domain = $1', [server.domain]);
    await db.rows("select set_password('alice', null, 'secret', '{md5}')");
    const bot = await scene.addAccount('bot');
    await db.rows('insert into xmpp_contacts (account_id, jid, subscribe) values ($1, $2, true)', [
      bot,
      `alice@${server.domain}`,
    ]);
    const alice = await scene.addPeer('alice');
    await alice.waitFor((stanza) => stanza.element.attrs.type === 'subscribe', 15_000);
    await alice.do('presence', { to: `bot@${server.domain}`, type: 'subscribed' });
    const come = await db.until<{ available_timestamp: Date }>(
      "select available_timestamp from openfire_users where login = 'alice' and available",
    );
    await alice.close();
    const gone = await db.until<{ available_timestamp: Date }>(
      "select available_timestamp from openfire_users where login = 'alice' and not available",
    );
    assert.ok(gone.available_timestamp > come.available_timestamp);
  } finally {
    await scene.close();
  }
});

const GUEST = { domain: 'example.com', jid: 'alice@example.com' };

const addAlice = (db: TestDatabase) =>
  db.rows("select set_password('alice', $1, 'secret', '{md5}')", [GUEST.domain]);

/** What the daemon writes when a contact's client comes or goes. */
const come = (db: TestDatabase, account: number, resource: string, jid = GUEST.jid) =>
  db.rows(
    `insert into xmpp_presences (account_id, jid, bare_jid) values ($1, $2, $3)
    on conflict (account_id, jid) do update set show = 'away', since = now()`,
    [account, `${jid}/${resource}`, jid],
  );
const go = (db: TestDatabase, account: number, resource: string) =>
  db.rows('delete from xmpp_presences where account_id = $1 and jid = $2', [
    account,
    `${GUEST.jid}/${resource}`,
  ]);

test('available follows what the enabled accounts of the same server see', async () => {
  await using db = await testDatabase();
  await db.rows('update rowgram_settings set users_domain = $1', [GUEST.domain]);
  await addAlice(db);
  await db.rows(`insert into xmpp_accounts (id, enabled, acc_jid) values
    (1, true, 'bot@Example.com'), (2, true, 'other@example.com'), (3, true, 'bot@else.where')`);
  const shown = async () => {
    const [user] = await db.rows<{ available: boolean; available_timestamp: Date | null }>(
      'select available, available_timestamp from openfire_users',
    );
    assert.ok(user);
    return user;
  };
  assert.deepEqual(await shown(), { available: false, available_timestamp: null });
  await come(db, 3, 'phone');
  await come(db, 1, 'phone', 'stranger@example.com');
  assert.deepEqual(await db.rows('select from rowgram_user_presences'), []);
  await come(db, 1, 'phone');
  const came = await shown();
  assert.ok(came.available && came.available_timestamp);
  // Another client, another show, another account: nothing has changed.
  const [before] = await db.rows('select xmin, * from rowgram_user_presences');
  await come(db, 1, 'desk');
  await come(db, 1, 'phone');
  await go(db, 1, 'phone');
  assert.deepEqual(await db.rows('select xmin, * from rowgram_user_presences'), [before]);
  await come(db, 2, 'desk');
  await go(db, 1, 'desk');
  assert.equal((await shown()).available, true);
  await go(db, 2, 'desk');
  const gone = await shown();
  assert.equal(gone.available, false);
  assert.ok(Number(gone.available_timestamp) > Number(came.available_timestamp));
  await come(db, 1, 'phone');
  await db.rows('update xmpp_accounts set enabled = false where id = 1');
  assert.equal((await shown()).available, false);
  await db.rows('delete from xmpp_accounts');
  assert.deepEqual(await shown(), { available: false, available_timestamp: null });
});

test('presence does not wait for somebody who holds a lock on the user', async () => {
  await using db = await testDatabase();
  await addAlice(db);
  await db.rows(
    "insert into xmpp_accounts (id, enabled, acc_jid) values (1, true, 'bot@example.com')",
  );
  const other = new pg.Client({ connectionString: urlWithSchema(db.address) });
  await other.connect();
  await other.query("begin; update rowgram_users set name = 'Alice'");
  await db.rows("set statement_timeout = '2s'");
  await come(db, 1, 'phone');
  await go(db, 1, 'phone');
  await other.end();
});
