/**
 * Who may do what: all rights against the list in fixtures/privileges.txt, and each role at work.
 * `UPDATE=1 npm test -- test/privileges.test.ts` writes the list anew, to be read in the diff.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import pg from 'pg';
import { urlWithSchema } from '../src/db/connect.ts';
import { startFakeComponentServer } from './peers/fakeComponentServer.ts';
import { startFakeServer } from './peers/fakeServer.ts';
import { startComponentDaemon } from './support/componentDaemon.ts';
import { startDaemon } from './support/daemon.ts';
import { type TestDatabase, testDatabase } from './support/database.ts';

const FIXTURE = new URL('fixtures/privileges.txt', import.meta.url);
const ROLES = [
  'rowgram_owner',
  'rowgram_daemon',
  'rowgram_admin',
  'rowgram_app',
  'rowgram_viewer',
  'openfire',
  'public',
];
const DENIED = { code: '42501' };

// A partition of a month has the same rights as its parent's other ones, whichever month it is.
const SELECT_COLUMN_RIGHTS = `
  select c.relname as "object", r.role, v.verb, array_agg(a.attname::text order by a.attnum)
      filter (where has_column_privilege(r.role, c.oid, a.attnum, v.verb)) as granted,
    count(*)::integer as "columnCount"
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  cross join unnest($1::text[]) r (role)
  cross join unnest(array['select', 'insert', 'update']) v (verb)
  where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
    and c.relname !~ '_[0-9]{4}_[0-9]{2}$'
  group by c.relname, r.role, v.verb
  union all
  select c.relname, r.role, v.verb,
    case when has_table_privilege(r.role, c.oid, v.verb) then '{}'::text[] end, 0
  from pg_class c
  cross join unnest($1::text[]) r (role)
  cross join unnest(array['delete', 'truncate', 'references', 'trigger']) v (verb)
  where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
    and c.relname !~ '_[0-9]{4}_[0-9]{2}$'
  union all
  select c.relname, r.role, v.verb,
    case when has_sequence_privilege(r.role, c.oid, v.verb) then '{}'::text[] end, 0
  from pg_class c
  cross join unnest($1::text[]) r (role)
  cross join unnest(array['usage', 'select', 'update']) v (verb)
  where c.relnamespace = current_schema()::regnamespace and c.relkind = 'S'
  union all
  select p.oid::regprocedure::text, r.role, 'execute',
    case when has_function_privilege(r.role, p.oid, 'execute') then '{}'::text[] end, 0
  from pg_proc p
  cross join unnest($1::text[]) r (role)
  where p.pronamespace = current_schema()::regnamespace and not exists (
    select from pg_depend d
    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  union all
  select 'the schema', r.role, v.verb,
    case when has_schema_privilege(r.role, current_schema(), v.verb) then '{}'::text[] end, 0
  from unnest($1::text[]) r (role)
  cross join unnest(array['usage', 'create']) v (verb)`;

const SELECT_POLICIES = `
  select c.relname as "object", format('%s for %s: %s', p.polname,
    array_to_string(array(select rolname from pg_roles where oid = any(p.polroles) order by 1), ' '),
    pg_get_expr(p.polqual, p.polrelid)) as line
  from pg_policy p join pg_class c on c.oid = p.polrelid
  where c.relnamespace = current_schema()::regnamespace
  order by 1, 2`;

type Right = {
  object: string;
  role: string;
  verb: string;
  granted: string[] | null;
  columnCount: number;
};

const VERBS = 'usage create select insert update delete truncate references trigger execute'.split(
  ' ',
);

/** A verb for all columns stands alone; one for some of them names them. */
const formatRight = ({ verb, granted, columnCount }: Right): string =>
  granted?.length === columnCount || columnCount === 0 ? verb : `${verb} (${granted?.join(' ')})`;

const formatRights = (rights: Right[]): string[] => {
  const all = rights.toSorted((a, b) => VERBS.indexOf(a.verb) - VERBS.indexOf(b.verb));
  return ROLES.map((role) => {
    const own = all.filter((right) => right.role === role && right.granted !== null);
    return own.length === 0 ? '' : `  ${role}: ${own.map(formatRight).join(', ')}`;
  }).filter(Boolean);
};

const readPrivileges = async (db: TestDatabase): Promise<string> => {
  const rights = await db.rows<Right>(SELECT_COLUMN_RIGHTS, [ROLES]);
  const policies = await db.rows<{ object: string; line: string }>(SELECT_POLICIES);
  const objects = [...new Set(rights.map(({ object }) => object))].sort();
  return objects
    .map((object) =>
      [
        object,
        ...formatRights(rights.filter((right) => right.object === object)),
        ...policies.filter((policy) => policy.object === object).map(({ line }) => `  ${line}`),
        '',
      ].join('\n'),
    )
    .join('\n');
};

/** Each line with its object before it, so that a difference says where it is. */
const flatten = (text: string): string[] => {
  let object = '';
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith('  ')) {
      object = line;
      return [];
    }
    return `${object}: ${line.trim()}`;
  });
};

test('all rights are those of the list', async () => {
  await using db = await testDatabase();
  const actual = await readPrivileges(db);
  if (process.env.UPDATE) await writeFile(FIXTURE, actual);
  const listed = flatten(await readFile(FIXTURE, 'utf8'));
  const found = flatten(actual);
  assert.deepEqual(
    {
      more: found.filter((line) => !listed.includes(line)),
      less: listed.filter((line) => !found.includes(line)),
    },
    { more: [], less: [] },
  );
});

type Member = AsyncDisposable & { name: string; client: pg.Client };

/** A login of its own that is a member of the role and of nothing else. */
const logIn = async (db: TestDatabase, role: string): Promise<Member> => {
  const name = `rowgram_test_${randomBytes(6).toString('hex')}`;
  await db.rows(`create role ${name} login password 'word' in role ${role}`);
  const client = new pg.Client({ connectionString: urlOf(db, name) });
  await client.connect();
  return {
    name,
    client,
    async [Symbol.asyncDispose]() {
      await client.end();
      await db.rows(`drop role ${name}`);
    },
  };
};

const urlOf = ({ address }: TestDatabase, name: string): string =>
  urlWithSchema(address).replace(/\/\/([^@/]*@)?/, `//${name}:word@`);

const SEED = `insert into xmpp_tx_queue (message_to, message_body)
  values ('someuser@someserver', 'Hello, there!') returning id`;

test('an application inserts rows and sees its own only', async () => {
  await using db = await testDatabase();
  await using app = await logIn(db, 'rowgram_app');
  await using other = await logIn(db, 'rowgram_app');
  const { rows } = await app.client.query(SEED);
  await other.client.query(SEED);
  const seen = await app.client.query('select id, created_by from xmpp_tx_queue');
  assert.deepEqual(seen.rows, [{ id: rows[0].id, created_by: app.name }]);
  const all = await db.rows('select from xmpp_tx_queue');
  assert.equal(all.length, 2);
});

test('an application cancels its own row, queues it again and waits for it', async () => {
  await using db = await testDatabase();
  await using app = await logIn(db, 'rowgram_app');
  await using other = await logIn(db, 'rowgram_app');
  const [{ id }] = (await app.client.query(SEED)).rows;
  const change = (client: pg.Client, state: string) =>
    client.query(
      `update xmpp_tx_queue set state = '${state}' where id = ${id} returning state, settled`,
    );
  assert.equal((await change(other.client, 'cancelled')).rowCount, 0);
  assert.deepEqual((await change(app.client, 'cancelled')).rows, [
    { state: 'cancelled', settled: true },
  ]);
  const waited = await app.client.query(`select rowgram_wait(${id}, '10 ms') as state`);
  assert.deepEqual(waited.rows, [{ state: 'cancelled' }]);
  assert.deepEqual((await change(app.client, 'queued')).rows, [
    { state: 'queued', settled: false },
  ]);
});

test('an application cannot write what the daemon writes', async () => {
  await using db = await testDatabase();
  await using app = await logIn(db, 'rowgram_app');
  await app.client.query(SEED);
  const written = {
    submission_timestamp: 'now()',
    submission_failed: 'true',
    submission_info: "'x'",
    created_by: "'rowgram_admin'",
    settled: 'true',
    txid: "'3'",
    delivered_at: 'now()',
    displayed_at: 'now()',
    stanza_id: "'x'",
    attempts: '1',
    next_try_at: 'now()',
    insert_timestamp: 'now()',
    id: '7',
  };
  for (const [column, value] of Object.entries(written)) {
    const insert = `insert into xmpp_tx_queue (message_to, ${column}) values ('a@b', ${value})`;
    await assert.rejects(app.client.query(insert), DENIED, column);
    const update = `update xmpp_tx_queue set ${column} = ${value}`;
    await assert.rejects(app.client.query(update), DENIED, column);
  }
  await assert.rejects(
    app.client.query("insert into xmpp_tx_queue (message_to, state) values ('a@b', 'delivered')"),
    DENIED,
  );
  for (const state of ['submitting', 'submitted', 'delivered', 'displayed', 'failed', 'expired']) {
    const update = `update xmpp_tx_queue set state = '${state}'`;
    await assert.rejects(app.client.query(update), /it cannot become/, state);
  }
  for (const message of [
    'delete from xmpp_tx_queue',
    "update xmpp_tx_queue set message_to = 'x'",
  ]) {
    await assert.rejects(app.client.query(message), DENIED);
  }
});

test('an application reads no secret and no partition', async () => {
  await using db = await testDatabase();
  await using app = await logIn(db, 'rowgram_app');
  const forbidden = [
    'select acc_pass from xmpp_accounts',
    'select secret from xmpp_components',
    'select * from xmpp_accounts',
    'select password from xmpp_rooms',
    'select sm_id from xmpp_streams',
    'select stanza_id_secret from rowgram_settings',
    'select queue_keep from rowgram_settings',
    'select idempotency_key from rowgram_idempotency_keys',
    'select id from xmpp_tx_queue_hot',
    'select id from xmpp_tx_queue_settled',
    'select id from xmpp_rx_queue_other',
    'select rowgram_create_partitions()',
    'select rowgram_drop_partitions()',
    'delete from xmpp_rx_queue',
  ];
  for (const text of forbidden) await assert.rejects(app.client.query(text), DENIED, text);
  // What it may know of an account is its number, to name it in a row.
  await db.rows("insert into xmpp_accounts (id, acc_jid) values (7, 'a@b')");
  assert.deepEqual((await app.client.query("select xmpp_account('a@b') as id")).rows, [
    { id: '7' },
  ]);
});

test('an application has the accounts that are granted to it, and no others', async () => {
  await using db = await testDatabase();
  await using app = await logIn(db, 'rowgram_app');
  await db.rows(
    `insert into xmpp_accounts (id, acc_jid, granted_to)
    values (1, 'all@b', default), (2, 'own@b', array[$1]), (3, 'other@b', '{someone}'), (4, 'none@b', '{}')`,
    [app.name],
  );
  const tables = {
    xmpp_rx_queue: ['message_stanza, message_to, message_type', "'', '', ''"],
    xmpp_contacts: ['jid', "'c@d'"],
    xmpp_presences: ['jid, bare_jid', "'c@d/e', 'c@d'"],
    xmpp_rooms: ['room_jid', "'r@d'"],
    xmpp_room_invites: ['room_jid', "'r@d'"],
    xmpp_subscription_requests: ['jid', "'c@d'"],
    xmpp_directed_presences: ['jid', "'c@d'"],
    xmpp_profiles: ['full_name', "'C'"],
    xmpp_contact_profiles: ['jid', "'c@d'"],
    xmpp_chat_states: ['jid, chat_state', "'c@d', 'active'"],
    xmpp_iq_requests: [
      'iq_type, iq_id, namespace, payload, answer_by',
      "'get', 'i', 'n', '<n/>', now()",
    ],
    xmpp_pubsub_items: ['service, node, item_id', "'s', 'n', 'i'"],
  };
  const seen = async (text: string): Promise<number[]> => {
    const { rows } = await app.client.query<{ id: string }>(`${text} order by 1`);
    return rows.map(({ id }) => Number(id));
  };
  assert.deepEqual(await seen('select id from xmpp_accounts'), [1, 2]);
  for (const [table, [columns, values]] of Object.entries(tables)) {
    await db.rows(
      `insert into ${table} (account_id, ${columns}) select id, ${values} from xmpp_accounts`,
    );
    assert.deepEqual(await seen(`select account_id as id from ${table}`), [1, 2], table);
  }
  const room = 'select r.id from xmpp_rooms r join xmpp_room_occupants o on o.room_id = r.id';
  await db.rows(`insert into xmpp_room_occupants (room_id, nick, role, affiliation)
    select id, 'n', 'visitor', 'none' from xmpp_rooms`);
  assert.equal((await seen(room)).length, 2);
  assert.equal((await seen('select room_id as id from xmpp_room_occupants')).length, 2);
  for (const insert of [
    "insert into xmpp_tx_queue (account_id, message_to) values ($1, 'a@b')",
    "insert into xmpp_iq_queue (account_id, payload) values ($1, '<q/>')",
    "insert into xmpp_contacts (account_id, jid) values ($1, 'new@b')",
    "insert into xmpp_rooms (account_id, room_jid) values ($1, 'new@b')",
    "insert into xmpp_directed_presences (account_id, jid) values ($1, 'new@b')",
    "insert into xmpp_contact_profiles (account_id, jid) values ($1, 'new@b')",
  ]) {
    for (const id of [1, 2]) await app.client.query(insert, [id]);
    for (const id of [3, 4, 99]) await assert.rejects(app.client.query(insert, [id]), DENIED);
  }
  const away = "update xmpp_accounts set show = 'away', status = 'at lunch'";
  assert.equal((await app.client.query(away)).rowCount, 2);
  const none = "insert into xmpp_tx_queue (message_to) values ('a@b')";
  await app.client.query(none);
  await db.rows('update xmpp_accounts set is_default = true where id = 3');
  await assert.rejects(app.client.query(none), DENIED);
});

test('an idempotency key is its own for each application', async () => {
  await using db = await testDatabase();
  await using app = await logIn(db, 'rowgram_app');
  await using other = await logIn(db, 'rowgram_app');
  const insert = "insert into xmpp_tx_queue (message_to, idempotency_key) values ('a@b', 'k')";
  assert.equal((await app.client.query(insert)).rowCount, 1);
  assert.equal((await app.client.query(insert)).rowCount, 0);
  assert.equal((await other.client.query(insert)).rowCount, 1);
});

test('an application cannot use up the idempotency keys of another', async () => {
  await using db = await testDatabase();
  await using app = await logIn(db, 'rowgram_app');
  await app.client.query('create temporary table own_rows (like xmpp_tx_queue)');
  const trigger = `create trigger own_rows_keep before insert on own_rows
    for each row execute function rowgram_keep_idempotency_key('xmpp_tx_queue')`;
  await assert.rejects(app.client.query(trigger), DENIED);
});

test('an administrator writes passwords, and reads none', async () => {
  await using db = await testDatabase();
  await using admin = await logIn(db, 'rowgram_admin');
  const run = (text: string) => admin.client.query(text);
  await run("insert into xmpp_accounts (enabled, acc_jid, acc_pass) values (true, 'a@b', 'one')");
  await run("update xmpp_accounts set acc_pass = 'two', enabled = false where acc_jid = 'a@b'");
  const [row] = await db.rows('select acc_pass, enabled from xmpp_accounts');
  assert.deepEqual(row, { acc_pass: 'two', enabled: false });
  for (const text of [
    'select acc_pass from xmpp_accounts',
    'select * from xmpp_accounts',
    'select a from xmpp_accounts a',
    'update xmpp_accounts set status = acc_pass',
    "update xmpp_accounts set enabled = true where acc_pass = 'two'",
    'update xmpp_accounts set enabled = true returning acc_pass',
    "update xmpp_accounts set state = 'online'",
    'select stanza_id_secret from rowgram_settings',
    'select sm_id from xmpp_streams',
  ]) {
    await assert.rejects(run(text), DENIED, text);
  }
  await run("update rowgram_settings set received_keep = '1 year' where id");
  await run('select rowgram_drop_partitions()');
  await db.rows(
    "insert into xmpp_streams values ((select id from xmpp_accounts), 'a@b/c', 'x', 0)",
  );
  assert.equal((await run("delete from xmpp_accounts where acc_jid = 'a@b'")).rowCount, 1);
  assert.deepEqual(await db.rows('select from xmpp_streams'), []);
});

test('an administrator sees and cancels the rows of all', async () => {
  await using db = await testDatabase();
  await using admin = await logIn(db, 'rowgram_admin');
  await db.rows(SEED);
  const { rows } = await admin.client.query(
    "update xmpp_tx_queue set state = 'cancelled' returning created_by = current_user as own",
  );
  assert.deepEqual(rows, [{ own: false }]);
  await assert.rejects(
    admin.client.query("update xmpp_tx_queue set state = 'delivered'"),
    /it cannot become/,
  );
});

test('a viewer reads all but secrets, and writes nothing', async () => {
  await using db = await testDatabase();
  await using viewer = await logIn(db, 'rowgram_viewer');
  await db.rows(SEED);
  assert.equal((await viewer.client.query('select id from xmpp_tx_queue')).rowCount, 1);
  await viewer.client.query('select acc_jid, state from xmpp_accounts');
  for (const text of [
    SEED,
    "update xmpp_tx_queue set state = 'cancelled'",
    'delete from xmpp_tx_queue',
    'delete from xmpp_rx_queue',
    "insert into xmpp_accounts (acc_jid) values ('a@b')",
    'update xmpp_accounts set enabled = true',
    "update rowgram_settings set queue_keep = '1 day'",
    'select acc_pass from xmpp_accounts',
    'select secret from xmpp_components',
    'select stanza_id_secret from rowgram_settings',
    'select rowgram_drop_partitions()',
    'truncate xmpp_tx_queue',
  ]) {
    await assert.rejects(viewer.client.query(text), DENIED, text);
  }
});

test('a role without any of ours reaches nothing', async () => {
  await using db = await testDatabase();
  await using stranger = await logIn(db, 'pg_monitor');
  for (const text of [
    SEED,
    'select from xmpp_rx_queue',
    'select from rowgram_daemons',
    "select xmpp_account('a@b')",
  ]) {
    await assert.rejects(stranger.client.query(text), DENIED, text);
  }
});

test('the daemon needs no right but those of rowgram_daemon to send and to receive', async () => {
  const server = await startFakeServer();
  try {
    await using db = await testDatabase();
    await using role = await logIn(db, 'rowgram_daemon');
    await using _daemon = await startDaemon({ ...db.address, url: urlOf(db, role.name) });
    await db.rows(
      `insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host, srv_port)
      values (true, 'bob@fake.test', 'secret', '127.0.0.1', $1)`,
      [server.port],
    );
    const session = await server.waitForSession(1);
    await db.until("select from xmpp_accounts where state = 'online'");
    await db.rows(SEED);
    const { element } = await session.next(({ element: { name } }) => name === 'message');
    assert.equal(element.attrs.to, 'someuser@someserver');
    await db.until("select from xmpp_tx_queue where state = 'submitted' and settled");
    const { id } = element.attrs;
    session.send(
      `<message from='someuser@someserver/x' to='bob@fake.test'><received xmlns='urn:xmpp:receipts' id='${id}'/></message>`,
    );
    await db.until("select from xmpp_tx_queue where state = 'delivered'");
    session.send("<message from='a@b/c' to='bob@fake.test'><body>hello</body></message>");
    await db.until("select from xmpp_rx_queue where message_body = 'hello'");
    await db.rows(
      "insert into xmpp_contacts (account_id, jid) select id, 'c@d' from xmpp_accounts",
    );
    await db.until("select from xmpp_contacts where state = 'stored'");
    session.send(
      `<iq type='set' id='push'><query xmlns='jabber:iq:roster'><item jid='e@f' subscription='both'/></query></iq>` +
        "<presence from='e@f/g'/><presence from='h@i' type='subscribe'/>",
    );
    await db.until("select from xmpp_contacts where jid = 'e@f'");
    await db.until('select from xmpp_presences cross join xmpp_subscription_requests');
    await db.rows(
      "insert into xmpp_directed_presences (account_id, jid) select id, 'c@d' from xmpp_accounts",
    );
    await db.until("select from xmpp_directed_presences where state = 'sent'");
    await db.client.query('listen notify_table_change');
    const told = once(db.client, 'notification');
    await db.rows("update xmpp_accounts set enabled = false where acc_jid = 'bob@fake.test'");
    await told;
    await db.until("select from xmpp_accounts where state = 'off'");
    await role.client.query('select rowgram_create_partitions()');
    await role.client.query('select rowgram_drop_partitions()');
  } finally {
    await server.stop();
  }
});

test('an administrator adds a component and the daemon holds it, each with its own rights', async () => {
  await using server = await startFakeComponentServer();
  await using db = await testDatabase();
  await using admin = await logIn(db, 'rowgram_admin');
  await using role = await logIn(db, 'rowgram_daemon');
  await using _daemon = await startComponentDaemon({ ...db.address, url: urlOf(db, role.name) });
  const insert = `insert into xmpp_components (domain, gateway, secret, srv_port)
    values ('a.test', 'bytestreams', 'secret', $1)`;
  await admin.client.query(insert, [server.port]);
  await db.until("select from xmpp_components where state = 'online'");
  await admin.client.query("update xmpp_components set secret = 'other', enabled = false");
  await db.until("select from xmpp_components where state = 'off'");
  await assert.rejects(admin.client.query("update xmpp_components set state = 'online'"), DENIED);
  await assert.rejects(role.client.query('update xmpp_components set enabled = true'), DENIED);
  await admin.client.query('delete from xmpp_components');
});
