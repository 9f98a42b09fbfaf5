/**
 * What openfire/ has: its files, and each statement in them as Openfire's JDBC providers run it.
 * `UPDATE=1 npm test -- test/users/openfire.test.ts` writes the files anew, to be read in the diff.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { formatFiles } from '../../openfire/properties.ts';
import { parseFragment } from '../../src/xmpp/wire/fragment.ts';
import type { TestDatabase } from '../support/database.ts';
import { fileOf, openOpenfire, propertiesOf, read } from './openfireDatabase.ts';
import { peep } from './serverRole.ts';

type Row = Record<string, unknown>;

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

/** Prepares and runs it as JDBC does: `?` for a parameter, and each is a varchar. */
const runAsJdbc = async (db: TestDatabase, statement: string, values: string[]): Promise<Row[]> => {
  let count = 0;
  const text = statement.replace(/\?/g, () => `$${++count}`);
  assert.equal(count, values.length, statement);
  const types = values.length > 0 ? `(${values.map(() => 'varchar').join(', ')})` : '';
  await db.rows(`prepare of_openfire ${types} as ${text}`);
  try {
    const quoted = values.map((value) => db.client.escapeLiteral(value));
    return await db.rows(`execute of_openfire${values.length > 0 ? `(${quoted.join(', ')})` : ''}`);
  } finally {
    await db.rows('deallocate of_openfire');
  }
};

const SEARCH = 'jdbcUserProvider.searchSQL';
/** Each statement, with the parameters that its provider binds and what they lead to. */
const RUNS: [property: string, values: string[], rows: Row[]][] = [
  ['jdbcAuthProvider.passwordSQL', ['alice'], [{ password: md5('wonderland') }]],
  ['jdbcAuthProvider.passwordSQL', ['bob'], [{ password: md5('builder') }]],
  ['jdbcAuthProvider.passwordSQL', ['bot'], [{ password: md5('of the account') }]],
  ...['gone', 'off', 'env', 'empty', 'nobody', "' or true --"].map(
    (name): [string, string[], Row[]] => ['jdbcAuthProvider.passwordSQL', [name], []],
  ),
  ['jdbcAuthProvider.setPasswordSQL', [md5('new'), 'bob'], [{ openfire_set_password: true }]],
  ['jdbcAuthProvider.passwordSQL', ['bob'], [{ password: md5('new') }]],
  [
    'jdbcUserProvider.loadUserSQL',
    ['alice'],
    [{ name: 'Alice Liddell', email: 'alice@example.com' }],
  ],
  ['jdbcUserProvider.loadUserSQL', ['bot'], [{ name: null, email: null }]],
  ['jdbcUserProvider.loadUserSQL', ['gone'], []],
  ['jdbcUserProvider.userCountSQL', [], [{ count: 3 }]],
  [
    'jdbcUserProvider.allUsersSQL',
    [],
    [{ username: 'alice' }, { username: 'bob' }, { username: 'bot' }],
  ],
  ['jdbcGroupProvider.groupCountSQL', [], [{ count: 2 }]],
  ['jdbcGroupProvider.allGroupsSQL', [], [{ group_name: 'team' }, { group_name: 'void' }]],
  ['jdbcGroupProvider.userGroupsSQL', ['bot'], [{ group_name: 'team' }]],
  ['jdbcGroupProvider.userGroupsSQL', ['alice@elsewhere.org'], []],
  ['jdbcGroupProvider.descriptionSQL', ['team'], [{ description: 'All of us' }]],
  ['jdbcGroupProvider.descriptionSQL', ['others'], []],
  ['jdbcGroupProvider.loadMembersSQL', ['team'], [{ username: 'bob' }, { username: 'bot' }]],
  ['jdbcGroupProvider.loadAdminsSQL', ['team'], [{ username: 'alice' }]],
  ['jdbcAdminProvider.getAdminsSQL', [], [{ username: 'alice' }]],
];

test('the files of openfire/ are what properties.ts writes', async () => {
  for (const [name, text] of Object.entries(formatFiles())) {
    if (process.env.UPDATE) await writeFile(fileOf(name), text);
    else assert.equal(await read(name), text, name);
  }
});

test('every statement gives Openfire what it asks for, under its role', async () => {
  await using db = await openOpenfire();
  const properties = await propertiesOf(db);
  const statements = [...properties.keys()].filter((name) => name.endsWith('SQL'));
  const tried = new Set([SEARCH, ...RUNS.map(([name]) => name)]);
  assert.deepEqual(statements, [...tried].sort());
  for (const [name, values, rows] of RUNS) {
    const answer = await runAsJdbc(db, properties.get(name) ?? '', values);
    assert.deepEqual(answer, rows, `${name} of ${values}`);
  }
});

test('a search finds whatever the case, in any of the fields that Openfire adds', async () => {
  await using db = await openOpenfire();
  const properties = await propertiesOf(db);
  const fields = ['username', 'name', 'email'].map((field) =>
    properties.get(`jdbcUserProvider.${field}Field`),
  );
  const search = async (wanted: (string | undefined)[], value: string) => {
    const conditions = wanted.map((field) => ` ${field} LIKE ?`).join(' AND');
    const statement = `${properties.get(SEARCH)}${conditions}`;
    const rows = await runAsJdbc(
      db,
      statement,
      wanted.map(() => value),
    );
    return rows.map(({ username }) => username);
  };
  for (const text of ['%alice%', '%ALICE%']) {
    for (const wanted of [fields, fields.slice(0, 1), fields.slice(1), fields.slice(2)]) {
      assert.deepEqual(await search(wanted, text), ['alice'], `${wanted} ${text}`);
    }
  }
  // Who has no name is found by the others.
  assert.deepEqual((await search(fields, '%')).sort(), ['alice', 'bob', 'bot']);
  assert.deepEqual(await search(fields, "%' or true --%"), []);
});

test('the properties are written over what was there, and again without a change', async () => {
  await using db = await openOpenfire();
  const all = 'select * from ofProperty order by name';
  const before = await db.rows(all);
  assert.partialDeepStrictEqual(
    before.find(({ name }) => name === 'provider.auth.className'),
    { propvalue: 'org.jivesoftware.openfire.auth.JDBCAuthProvider', encrypted: null, iv: null },
  );
  await db.client.query(await read('ofproperty.sql'));
  assert.deepEqual(await db.rows(all), before);
});

test('the XML has the same properties, but for the way to the database', async () => {
  await using db = await openOpenfire();
  const properties = await propertiesOf(db);
  const found = new Map<string, string>();
  type Node = ReturnType<typeof parseFragment>;
  const walk = (node: Node, path: string[]) => {
    const children = node.getChildElements();
    if (children.length === 0) found.set(path.join('.'), node.text());
    for (const child of children) walk(child, [...path, child.name]);
  };
  const text = (await read('openfire-provider.xml')).replace(/<!--.*-->/, '').trim();
  walk(parseFragment(text), []);
  const ofDatabase = (name: string) =>
    /^(jdbcProvider|xmpp\.component)\.|useConnectionProvider$/.test(name);
  const without = (all: Map<string, string>) =>
    [...all].filter(([name]) => !ofDatabase(name)).sort();
  assert.deepEqual(without(found), without(properties));
  assert.match(found.get('jdbcProvider.connectionString') ?? '', /user=openfire&password=/);
});

test('with bcrypt, users and accounts are compared by it', async () => {
  await using db = await openOpenfire();
  await db.client.query(await read('bcrypt.sql'));
  const properties = await propertiesOf(db);
  assert.equal(properties.get('jdbcAuthProvider.passwordType'), 'bcrypt');
  const statement = properties.get('jdbcAuthProvider.passwordSQL') ?? '';
  for (const [name, password] of [
    ['bob', 'builder'],
    ['bot', 'of the account'],
  ] as const) {
    const [row] = await runAsJdbc(db, statement, [name]);
    assert.match(`${row?.bcrypt}`, /^\$2a\$/);
    const [check] = await db.rows('select crypt($1, $2) = $2 as fits', [password, row?.bcrypt]);
    assert.equal(check?.fits, true, name);
  }
  // Alice has an MD5 alone.
  assert.deepEqual(await runAsJdbc(db, statement, ['alice']), []);
  const [{ hash } = {}] = await db.rows("select crypt('new', gen_salt('bf', 4)) as hash");
  const setter = properties.get('jdbcAuthProvider.setPasswordSQL') ?? '';
  await runAsJdbc(db, setter, [`${hash}`, 'alice']);
  assert.deepEqual(await runAsJdbc(db, statement, ['alice']), [{ bcrypt: hash }]);
});

test('Openfire changes the password of users alone, and by a known hash', async () => {
  await using db = await openOpenfire();
  const set = (hash: string, name: string) =>
    runAsJdbc(db, 'select openfire_set_password(?, ?)', [hash, name]);
  for (const name of ['bot', 'gone', 'nobody']) {
    await assert.rejects(set(md5('x'), name), /there is no user/, name);
  }
  for (const hash of ['', 'plain text', 'a'.repeat(40), '$2a$10$short']) {
    await assert.rejects(set(hash, 'bob'), (error: Error) => {
      assert.match(error.message, /the hash given for bob is of an unknown type/);
      return hash === '' || !error.message.includes(hash);
    });
  }
  await set(md5('new'), 'Bob');
  await db.rows('reset role');
  const verifiers = 'scram_sha1, scram_sha256, bcrypt, digest_ha1, digest_ha1b, plain';
  const [row] = await db.rows<Row>(
    `select ${verifiers} from public.rowgram_users where login = 'bob'`,
  );
  assert.deepEqual(
    Object.values(row ?? {}).filter((verifier) => verifier !== null),
    [],
  );
});

test('the role of Openfire reads its views, and nothing else of ours', async () => {
  await using db = await openOpenfire();
  const relations = await db.rows<{ name: string }>(`
    select c.relname as name from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')`);
  const views = ['admins', 'group_members', 'groups', 'search', 'users'];
  const readable: string[] = [];
  for (const { name } of relations) {
    const isRead = await db.rows(`select from public.${name} limit 1`).then(
      () => true,
      () => false,
    );
    if (isRead) readable.push(name);
    await assert.rejects(db.rows(`delete from public.${name}`), /denied|cannot delete/, name);
  }
  assert.deepEqual(
    readable.sort(),
    views.map((view) => `openfire_${view}_view`),
  );
  await assert.rejects(db.rows("select set_password('a', 'b', 'c')"), { code: '42501' });
  assert.deepEqual(await peep(db, 'openfire_users_view', 'username'), ['alice', 'bob', 'bot']);
});

test('a component is let in by its secret', async () => {
  await using db = await openOpenfire();
  const text = (await read('component.sql'))
    .replaceAll(":'subdomain'", "'rooms'")
    .replaceAll(":'secret'", "'quiet'");
  await db.client.query(text);
  await db.client.query(text);
  assert.deepEqual(await db.rows('select * from ofExtComponentConf'), [
    { subdomain: 'rooms', wildcard: 0, secret: 'quiet', permission: 'allowed' },
  ]);
});

test('a lookup among 100,000 users and 1,000 accounts goes by the indexes', async () => {
  await using db = await openOpenfire();
  const properties = await propertiesOf(db);
  await db.rows('reset role');
  await db.client.query(`
    insert into rowgram_users (login, pass_md5) select 'user' || i, md5('x') from generate_series(1, 100000) i;
    insert into xmpp_accounts (enabled, acc_jid, acc_pass)
    select true, 'account' || i || '@example.com', 'x' from generate_series(1, 1000) i;
    analyze`);
  await db.rows('set role openfire');
  await db.rows('set plan_cache_mode = force_generic_plan');
  for (const name of ['jdbcAuthProvider.passwordSQL', 'jdbcUserProvider.loadUserSQL']) {
    const statement = (properties.get(name) ?? '').replace('?', '$1');
    await db.rows(`prepare lookup (varchar) as ${statement}`);
    const plans: string[] = [];
    for (let round = 0; round < 5; round += 1) {
      const rows = await db.rows<Row>("explain (analyze) execute lookup ('user4711')");
      plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
    }
    for (const plan of plans) {
      assert.match(plan, /rowgram_users_pkey/);
      assert.match(plan, /xmpp_accounts_username_idx/);
      assert.doesNotMatch(plan, /Seq Scan on (rowgram_users|xmpp_accounts)/);
    }
    // The machine may be busy for some of them.
    const times = plans.map((plan) => Number(/Execution Time: ([\d.]+) ms/.exec(plan)?.[1]));
    assert.ok(Math.min(...times) < 2, plans[0]);
    await db.rows('deallocate lookup');
  }
});
