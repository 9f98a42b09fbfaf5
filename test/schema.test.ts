/** What every table, column, function and name must be like, and what a migration may and may not do. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type pg from 'pg';
import { connect, type DatabaseAddress } from '../src/db/connect.ts';
import { startEmbedded } from '../src/db/embedded.ts';
import { migrate } from '../src/db/migrate.ts';
import { testDatabase } from './support/database.ts';

type EmptyDatabase = AsyncDisposable & { address: DatabaseAddress };

/** A database with nothing in it, on the server of the tests. */
const emptyDatabase = async (schema = 'public'): Promise<EmptyDatabase> => {
  const url = process.env.ROWGRAM_TEST_URL ?? '';
  const name = `rowgram_test_${randomBytes(6).toString('hex')}`;
  const onServer = async (text: string) => {
    const server = await connect(
      { url: url.replace(/\/[^/?]*(\?|$)/, '/postgres$1'), schema: 'public' },
      'tests',
    );
    await server.query(text).finally(() => server.end());
  };
  await onServer(`create database ${name} template template0`);
  return {
    address: { url: url.replace(/\/[^/?]*(\?|$)/, `/${name}$1`), schema },
    [Symbol.asyncDispose]: () => onServer(`drop database ${name} with (force)`),
  };
};

const withClient = async <T>(
  address: DatabaseAddress,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> => {
  const client = await connect(address, 'test');
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};

const texts = async (client: pg.Client, text: string): Promise<string[]> => {
  const { rows } = await client.query<{ text: string }>(text);
  return rows.map((row) => row.text);
};

/** Our tables and views; a partition is told by its parent. */
const RELATIONS = `
  select c.* from pg_class c
  where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
    and not c.relispartition`;

/** Our functions, and not those that an extension brings. */
const FUNCTIONS = `
  select p.* from pg_proc p
  where p.pronamespace = current_schema()::regnamespace and not exists (
    select from pg_depend d
    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')`;

test('every table, view, column and function has a comment', async () => {
  await using db = await testDatabase();
  const missing = await texts(
    db.client,
    `
    select c.relname as text from (${RELATIONS}) c where obj_description(c.oid, 'pg_class') is null
    union all
    select c.relname || '.' || a.attname from (${RELATIONS}) c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where col_description(c.oid, a.attnum) is null
    union all
    select p.oid::regprocedure::text from (${FUNCTIONS}) p
    where obj_description(p.oid, 'pg_proc') is null`,
  );
  assert.deepEqual(missing, []);
});

test('the comment of a table begins with its kind', async () => {
  await using db = await testDatabase();
  const without = await texts(
    db.client,
    `select c.relname as text from (${RELATIONS}) c
    where c.relkind in ('r', 'p')
      and obj_description(c.oid, 'pg_class') !~ '^(Desired|Observed|Queue|Log): '`,
  );
  assert.deepEqual(without, []);
});

test('tables are plural, and all names are snake_case', async () => {
  await using db = await testDatabase();
  const wrong = await texts(
    db.client,
    `
    select c.relname as text from (${RELATIONS}) c
    where c.relname !~ '^[a-z]+(_[a-z0-9]+)+$'
      or (c.relkind in ('r', 'p') and c.relname !~ '(s|_queue|_acl|_usage|_log)$')
      or (c.relkind in ('v', 'm') and c.relname !~ '_view$' and c.relname <> 'openfire_users')
    union all
    select c.relname || '.' || a.attname from (${RELATIONS}) c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where a.attname !~ '^[a-z]+(_[a-z0-9]+)*$'
    union all
    select p.proname from (${FUNCTIONS}) p where p.proname !~ '^[a-z]+(_[a-z0-9]+)+$'`,
  );
  assert.deepEqual(wrong, []);
});

test('constraints and indexes are named for their table and kind', async () => {
  await using db = await testDatabase();
  const wrong = await texts(
    db.client,
    `
    select n.conname as text from pg_constraint n join pg_class c on c.oid = n.conrelid
    where n.connamespace = current_schema()::regnamespace
      and n.conname !~ ('^' || c.relname || '(_.+)?_' || case n.contype
        when 'p' then 'pkey' when 'u' then 'key' when 'f' then 'fkey' when 'n' then 'not_null'
        when 'x' then 'excl' else 'check' end || '$')
      and n.coninhcount = 0
    union all
    select i.relname from pg_index x
    join pg_class i on i.oid = x.indexrelid
    join pg_class c on c.oid = x.indrelid
    where c.relnamespace = current_schema()::regnamespace
      and i.relname !~ ('^' || c.relname || '_(.+_)?(pkey|key|idx|excl)$')`,
  );
  assert.deepEqual(wrong, []);
});

test('triggers are <table>_<function>, the house prefix of the function left out', async () => {
  await using db = await testDatabase();
  const wrong = await texts(
    db.client,
    `select t.tgname || ' on ' || c.relname as text from pg_trigger t
    join pg_class c on c.oid = t.tgrelid
    join pg_proc p on p.oid = t.tgfoid
    left join pg_inherits i on i.inhrelid = c.oid
    left join pg_class parent on parent.oid = i.inhparent
    where c.relnamespace = current_schema()::regnamespace and not t.tgisinternal
      and t.tgparentid = 0
      and t.tgname <> all (array[
        c.relname || '_' || regexp_replace(p.proname, '^rowgram_', ''),
        parent.relname || '_' || regexp_replace(p.proname, '^rowgram_', '')])`,
  );
  assert.deepEqual(wrong, []);
});

test('a function that runs with the rights of its owner has its search_path, pg_temp last', async () => {
  await using db = await testDatabase();
  const { rows } = await db.client.query<{ name: string; config: string[] | null }>(
    `select p.proname as name, p.proconfig as config from (${FUNCTIONS}) p where p.prosecdef`,
  );
  assert.ok(rows.length > 0);
  for (const { name, config } of rows) {
    assert.ok(config?.includes('search_path=public, pg_temp'), name);
  }
});

/** All that a migration could have changed, as lines. */
const readCatalog = (client: pg.Client): Promise<string[]> =>
  texts(
    client,
    `
    select format('%s %s %s %s %s', c.oid, c.relname, c.relowner, c.relacl, c.reloptions) as text
    from pg_class c where c.relnamespace = current_schema()::regnamespace
    union all
    select format('%s.%s %s %s %s', a.attrelid, a.attname, a.atttypid, a.attnotnull, a.attacl)
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = current_schema()::regnamespace
    union all
    select format('%s %s %s', p.proowner, p.proacl, pg_get_functiondef(p.oid)) from (${FUNCTIONS}) p
    union all
    select format('%s %s', t.oid, pg_get_triggerdef(t.oid)) from pg_trigger t
    union all
    select format('%s %s', n.oid, pg_get_constraintdef(n.oid)) from pg_constraint n
    where n.connamespace = current_schema()::regnamespace
    union all
    select format('%s %s %s %s', polrelid, polname, polroles, pg_get_expr(polqual, polrelid))
    from pg_policy
    union all
    select format('%s %s %s %s', classoid, objoid, objsubid, description) from pg_description
    union all
    select format('%s %s', nspname, nspacl) from pg_namespace
    where oid = current_schema()::regnamespace
    order by 1`,
  );

test('a second migration changes nothing', async () => {
  await using empty = await emptyDatabase();
  assert.ok((await migrate(empty.address)).length > 0);
  const before = await withClient(empty.address, readCatalog);
  assert.deepEqual(await migrate(empty.address), []);
  assert.deepEqual(await withClient(empty.address, readCatalog), before);
});

test('of two migrations at once, one does the work and both succeed', async () => {
  await using empty = await emptyDatabase();
  const [one, other] = await Promise.all([migrate(empty.address), migrate(empty.address)]);
  assert.ok(one.length === 0 || other.length === 0);
  assert.ok(one.length + other.length > 0);
});

test('the two INSERTs of the jabclnd manual work as they stand', async () => {
  await using empty = await emptyDatabase();
  await migrate(empty.address);
  await withClient(empty.address, async (client) => {
    await client.query(`
      insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host)
      values (TRUE, 'username@server', 'mysecret', 'server-ip-or-domain');`);
    await client.query(`
      insert into xmpp_tx_queue (message_to, message_body)
      values ('someuser@someserver', 'Hello, there!');`);
    const { rows } = await client.query(`
      select a.srv_port as port, q.state, q.submission_failed as failed
      from xmpp_accounts a cross join xmpp_tx_queue q`);
    assert.deepEqual(rows, [{ port: 5222, state: 'queued', failed: false }]);
  });
});

test('in a schema other than public all is there, for users whose path is another, too', async () => {
  await using empty = await emptyDatabase('chat_1');
  await migrate(empty.address);
  await withClient({ ...empty.address, schema: 'public' }, async (client) => {
    const inPublic = await texts(
      client,
      `select relname as text from pg_class where relnamespace = 'public'::regnamespace
      union all select proname from pg_proc where pronamespace = 'public'::regnamespace`,
    );
    assert.deepEqual(inPublic, []);
    await client.query('listen notify_table_change');
    const told = once(client, 'notification');
    await client.query("insert into chat_1.xmpp_accounts (acc_jid) values ('a@b')");
    assert.equal((await told)[0].payload, 'xmpp_accounts');
    const insert = `insert into chat_1.xmpp_tx_queue (message_to, idempotency_key)
      values ('a@b', 'k') returning id`;
    assert.equal((await client.query(insert)).rowCount, 1);
    assert.equal((await client.query(insert)).rowCount, 0);
    assert.equal((await client.query("select chat_1.xmpp_account('A@b')")).rows[0].xmpp_account, 1);
    await client.query("update chat_1.xmpp_tx_queue set state = 'cancelled'");
    await client.query("update chat_1.xmpp_tx_queue set state = 'queued'");
    await client.query("update chat_1.xmpp_tx_queue set state = 'submitting'");
    const waited = await client.query(
      "select chat_1.rowgram_wait(id, '1 ms') from chat_1.xmpp_tx_queue",
    );
    assert.equal(waited.rows[0].rowgram_wait, 'submitting');
    await client.query('set role rowgram_app');
    await client.query("insert into chat_1.xmpp_tx_queue (message_to) values ('a@b')");
    await assert.rejects(
      client.query("update chat_1.xmpp_tx_queue set state = 'delivered'"),
      /row \d+ is queued, it cannot become delivered/,
    );
  });
});

test('a sleeping reader is rung from a schema other than public', async () => {
  await using empty = await emptyDatabase('chat_1');
  await migrate(empty.address);
  await withClient(empty.address, async (reader) => {
    await reader.query('listen xmpp_tx_queue');
    await reader.query("select pg_advisory_lock('xmpp_tx_queue'::regclass::oid::integer, 64)");
    const rung = once(reader, 'notification');
    await withClient({ ...empty.address, schema: 'public' }, (producer) =>
      producer.query("insert into chat_1.xmpp_tx_queue (message_to) values ('a@b')"),
    );
    assert.equal((await rung)[0].payload, '64');
  });
});

const PARENTS = ['xmpp_tx_queue_settled', 'xmpp_rx_queue'];

const partitionsOf = (client: pg.Client, parent: string): Promise<string[]> =>
  texts(
    client,
    `select inhrelid::regclass::text as text from pg_inherits
    where inhparent = '${parent}'::regclass order by 1`,
  );

test('there are partitions for this month and the next three', async () => {
  await using db = await testDatabase();
  const months = await texts(
    db.client,
    `select to_char(m, '_YYYY_MM') as text
    from generate_series(date_trunc('month', now()), now() + interval '3 months', '1 month') m`,
  );
  assert.equal(months.length, 4);
  for (const parent of PARENTS) {
    const expected = [...months, '_other'].map((suffix) => `${parent}${suffix}`).sort();
    assert.deepEqual(await partitionsOf(db.client, parent), expected);
  }
});

test('a month whose rows went to the other ones meanwhile gets its partition, and they move', async () => {
  await using db = await testDatabase();
  await db.rows(`insert into xmpp_rx_queue (insert_timestamp, message_stanza, message_to, account_id,
    message_type) values (now() + interval '5 months', '<message/>', 'a@b', 1, 'chat')`);
  await db.rows('select rowgram_create_partitions(6)');
  const [row] = await db.rows('select tableoid::regclass::text as part from xmpp_rx_queue');
  const [month] = await db.rows("select to_char(now() + interval '5 months', 'YYYY_MM') as text");
  assert.equal(row?.part, `xmpp_rx_queue_${month?.text}`);
  const indexes = (table: string) =>
    texts(
      db.client,
      `select count(*)::text as text from pg_index where indrelid = '${table}'::regclass`,
    );
  assert.deepEqual(await indexes(`${row?.part}`), await indexes('xmpp_rx_queue'));
});

test('partitions are dropped when the settings no longer keep them, and not before', async () => {
  await using db = await testDatabase();
  const before = await Promise.all(PARENTS.map((parent) => partitionsOf(db.client, parent)));
  for (const parent of PARENTS) {
    await db.rows(`create table ${parent}_2020_01 partition of ${parent}
      for values from ('2020-01-01') to ('2020-02-01')`);
    await db.rows(`alter table ${parent}_2020_01 owner to rowgram_owner`);
  }
  const drop = () => texts(db.client, 'select rowgram_drop_partitions() as text');
  assert.deepEqual(await drop(), []);
  await db.rows("update rowgram_settings set received_keep = '100 years', queue_keep = '1 day'");
  await db.rows(`insert into rowgram_idempotency_keys values
    ('q', 'r', 'old', 1, '2020-01-01'), ('q', 'r', 'new', 2, now())`);
  assert.deepEqual(await drop(), ['xmpp_tx_queue_settled_2020_01']);
  assert.deepEqual(
    await texts(db.client, 'select idempotency_key as text from rowgram_idempotency_keys'),
    ['new'],
  );
  await db.rows("update rowgram_settings set received_keep = '1 day'");
  await db.rows(`insert into bytestream_usage
    select 'proxy.test', jid, hour, 'a.test', 1, 2, 3
    from (values ('old@a.test', timestamptz '2020-01-01'), ('new@a.test', now())) v (jid, hour)`);
  assert.deepEqual(await drop(), ['xmpp_rx_queue_2020_01']);
  assert.deepEqual(await texts(db.client, 'select jid as text from bytestream_usage'), [
    'new@a.test',
  ]);
  const after = await Promise.all(PARENTS.map((parent) => partitionsOf(db.client, parent)));
  assert.deepEqual(after, before);
});

const ownServer = async () => {
  const dir = await mkdtemp(join(tmpdir(), 'rowgram-schema-'));
  const server = await startEmbedded({ dir });
  const as = (role: string, database: string): DatabaseAddress => ({
    url: server.url
      .replace(/\/\/[^@]*@/, `//${role}:word@`)
      .replace(/\/[^/?]*(\?|$)/, `/${database}$1`),
    schema: 'public',
  });
  return {
    as,
    query: (text: string) =>
      withClient({ url: server.url, schema: 'public' }, (client) => client.query(text)),
    async [Symbol.asyncDispose]() {
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};

const queueRow = async (address: DatabaseAddress): Promise<void> => {
  await withClient(address, async (client) => {
    const insert = "insert into xmpp_tx_queue (message_to, idempotency_key) values ('a@b', 'k')";
    assert.equal((await client.query(insert)).rowCount, 1);
    assert.equal((await client.query(insert)).rowCount, 0);
    await client.query('select rowgram_create_partitions(9)');
  });
};

const GRANTS = `select count(*)::integer as count from information_schema.column_privileges
  where grantee = 'rowgram_app' and table_name = 'xmpp_tx_queue'`;

test('who is no superuser can migrate, with CREATEROLE and without', async () => {
  await using server = await ownServer();
  await server.query(`
    create role maker login createdb createrole password 'word';
    create role guest login createdb password 'word';`);
  const newDatabase = async (role: string, name: string): Promise<DatabaseAddress> => {
    await server.query(`create database ${name} owner ${role}`);
    return server.as(role, name);
  };
  // The roles are missing and cannot be made: all works but the grants.
  const bare = await newDatabase('guest', 'bare');
  const warnings: string[] = [];
  assert.ok((await migrate(bare, (text) => warnings.push(text))).length > 0);
  assert.match(warnings[0] ?? '', /role rowgram_owner is missing and guest may not create it/);
  assert.equal(warnings.length, 6);
  await queueRow(bare);
  assert.deepEqual(await migrate(bare), []);
  // They can be made.
  const made = await newDatabase('maker', 'made');
  const onWarning = (text: string) => assert.fail(text);
  assert.ok((await migrate(made, onWarning)).length > 0);
  assert.deepEqual(await migrate(made, onWarning), []);
  await queueRow(made);
  const granted = await withClient(made, (client) => client.query(GRANTS));
  assert.ok(granted.rows[0].count > 10);
  // They are there, made by another, and nobody has made us a member of the owner.
  const beside = await newDatabase('guest', 'beside');
  const said: string[] = [];
  assert.ok((await migrate(beside, (text) => said.push(text))).length > 0);
  assert.match(said.join(), /guest is not a member of rowgram_owner/);
  await queueRow(beside);
  assert.deepEqual((await withClient(beside, (client) => client.query(GRANTS))).rows, granted.rows);
  assert.deepEqual(await migrate(beside), []);
  // A database that was migrated before the roles came gets its grants with the next migration.
  await migrate(bare);
  assert.deepEqual((await withClient(bare, (client) => client.query(GRANTS))).rows, granted.rows);
});
