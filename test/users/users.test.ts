/** Users: what the table takes and what it refuses, and what becomes of a password. */
import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { test } from 'node:test';
import pg from 'pg';
import { type TestDatabase, testDatabase } from '../support/database.ts';

const SEED = `insert into openfire_users (login, pass, enabled)
  values ('someuser', md5('somepassword'), TRUE);`;
const ALL = ['scram_sha1', 'scram_sha256', 'bcrypt', 'digest_ha1', 'digest_ha1b', 'pass_md5'];
const PASSWORD = 'ein „Paßwort“ ﬁve\u00a0words';

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

const setPassword = (db: TestDatabase, login: string, password = PASSWORD, verifiers?: string[]) =>
  verifiers === undefined
    ? db.rows("select set_password($1, 'example.com', $2)", [login, password])
    : db.rows("select set_password($1, 'example.com', $2, $3)", [login, password, verifiers]);

const userOf = async (db: TestDatabase, login: string): Promise<Record<string, string | null>> => {
  const [user] = await db.rows<Record<string, string | null>>(
    'select * from rowgram_users where login = $1',
    [login],
  );
  assert.ok(user);
  return user;
};

/** The verifiers that a user has. */
const verifiersOf = async (db: TestDatabase, login: string): Promise<string[]> => {
  const user = await userOf(db, login);
  return [...ALL, 'plain'].filter((name) => user[name] !== null);
};

/** What of an error a log or a client may show. */
const tellAll = (error: unknown): string => {
  assert.ok(error instanceof pg.DatabaseError);
  const { message, detail, hint, where } = error;
  return [message, detail, hint, where].join('\n');
};

test('the INSERT of the jabclnd manual works as it stands', async () => {
  await using db = await testDatabase();
  await db.client.query(SEED);
  const [user] = await db.rows('select * from openfire_users');
  assert.deepEqual(user, {
    login: 'someuser',
    pass: md5('somepassword'),
    enabled: true,
    name: null,
    email: null,
    available: false,
    available_timestamp: null,
  });
});

test('a password becomes verifiers, equal to those of another implementation', async () => {
  await using db = await testDatabase();
  await setPassword(db, 'Alice');
  const user = await userOf(db, 'alice');
  // SASLprep (RFC 4013): another space, a ligature.
  const prepared = PASSWORD.replace('\u00a0', ' ').normalize('NFKC');
  for (const [hash, sizeBytes] of [
    ['sha1', 20],
    ['sha256', 32],
  ] as const) {
    const verifier = user[`scram_${hash}`] ?? '';
    const [, count, salt = '', storedKey, serverKey] =
      /\$(\d+):([^$]+)\$(.+):(.+)$/.exec(verifier) ?? [];
    const text = Buffer.from(salt, 'base64').toString();
    assert.match(text, /^[\x21-\x7e]{20,}$/);
    const salted = pbkdf2Sync(prepared, text, Number(count), sizeBytes, hash);
    const sign = (key: string) => createHmac(hash, salted).update(key).digest();
    assert.equal(
      storedKey,
      createHash(hash).update(sign('Client Key')).digest('base64'),
      'StoredKey',
    );
    assert.equal(serverKey, sign('Server Key').toString('base64'), 'ServerKey');
  }
  assert.equal(user.digest_ha1, md5(`alice:example.com:${PASSWORD}`));
  assert.equal(user.digest_ha1b, md5(`alice@example.com:example.com:${PASSWORD}`));
  assert.equal(user.pass_md5, md5(PASSWORD));
  assert.equal(user.plain, null);
  const [crypted] = await db.rows('select crypt($1, bcrypt) = bcrypt as fits from rowgram_users', [
    PASSWORD,
  ]);
  assert.equal(crypted?.fits, true);
});

test('only the verifiers that are wanted are kept, and the same password may be set again', async () => {
  await using db = await testDatabase();
  await setPassword(db, 'alice', PASSWORD, ['ha1']);
  assert.deepEqual(await verifiersOf(db, 'alice'), ['digest_ha1', 'digest_ha1b']);
  await setPassword(db, 'alice', PASSWORD, ['ha1', 'md5']);
  assert.deepEqual(await verifiersOf(db, 'alice'), ['digest_ha1', 'digest_ha1b', 'pass_md5']);
  await setPassword(db, 'alice', PASSWORD, ['plain']);
  assert.deepEqual(await verifiersOf(db, 'alice'), ['plain']);
  await setPassword(db, 'alice');
  assert.deepEqual(await verifiersOf(db, 'alice'), ALL);
  await setPassword(db, 'alice');
  assert.deepEqual(await verifiersOf(db, 'alice'), ALL);
});

test('an MD5 that is set alone is a new password: the other verifiers go', async () => {
  await using db = await testDatabase();
  await db.rows("update rowgram_settings set users_domain = 'Example.COM'");
  await setPassword(db, 'alice');
  await db.rows("update openfire_users set name = 'Alice', enabled = false where login = 'alice'");
  assert.deepEqual(await verifiersOf(db, 'alice'), ALL);
  await db.rows("update openfire_users set pass = upper(md5('new')) where login = 'alice'");
  assert.deepEqual(await verifiersOf(db, 'alice'), ['pass_md5']);
  assert.equal((await userOf(db, 'alice')).pass_md5, md5('new'));
});

test('users and groups that came before the domain belong to it', async () => {
  await using db = await testDatabase();
  await db.rows(SEED);
  await db.rows("insert into rowgram_groups (name) values ('team')");
  await db.rows(
    "insert into rowgram_group_members (group_name, login) values ('team', 'SomeUser')",
  );
  await assert.rejects(
    db.rows("select set_password('someuser', null, 'secret')"),
    /the domain of someuser is to be given/,
  );
  await db.rows("update rowgram_settings set users_domain = 'example.com'");
  const members = 'select domain, group_name, login from rowgram_group_members';
  assert.deepEqual(await db.rows(members), [
    { domain: 'example.com', group_name: 'team', login: 'someuser' },
  ]);
  await db.rows("select set_password('someuser', null, 'secret')");
  assert.equal((await db.rows('select from rowgram_users')).length, 1);
  assert.deepEqual(await verifiersOf(db, 'someuser'), ALL);
  await db.rows("delete from openfire_users where login = 'someuser'");
  assert.deepEqual(await db.rows(members), []);
});

test('logins are stored in lower case, and one that cannot stand in a JID is refused', async () => {
  await using db = await testDatabase();
  for (const login of ['Ünal', 'o\\27hara', '用户', 'a.b-c_d+e']) {
    await db.rows("insert into openfire_users (login, pass) values ($1, md5('x'))", [login]);
    assert.ok(await userOf(db, login.toLowerCase()));
  }
  const bad = ['', 'a b', 'a@b', 'a/b', "o'hara", 'a"b', 'a&b', 'a:b', '<a>', 'a\u00a0b', 'a\tb'];
  for (const login of [...bad, 'a\u200db', 'a'.repeat(1024), null]) {
    for (const statement of [
      "insert into openfire_users (login, pass) values ($1, md5('x'))",
      "select set_password($1, 'example.com', 'secret')",
    ]) {
      await assert.rejects(db.rows(statement, [login]), /is no login/, `${login}`);
    }
  }
  await assert.rejects(
    db.rows("update openfire_users set login = 'b' where login = '用户'"),
    /the login of 用户 cannot be changed/,
  );
});

const SECRET = 'quite-secret';
const REFUSED: [statement: string, reason: RegExp][] = [
  [`insert into openfire_users (login, pass) values ('a', '${SECRET}')`, /of no type/],
  [`insert into openfire_users (login, pass) values ('a', '')`, /of no type/],
  [`insert into openfire_users (login, pass) values ('a', null)`, /is to have a password/],
  [`insert into openfire_users (login, pass) values ('a', md5(''))`, /is to have a password/],
  [
    `insert into openfire_users (login, pass) values ('a', encode(sha256('x'), 'hex'))`,
    /of no type/,
  ],
  [`insert into rowgram_users (login, bcrypt) values ('a', '{SSHA}${SECRET}')`, /of no type/],
  [`insert into rowgram_users (login, scram_sha1) values ('a', '${SECRET}')`, /of no type/],
  [`insert into rowgram_users (login, plain) values ('a b', '${SECRET}')`, /is no login/],
  [`insert into rowgram_users (login, plain) values (null, '${SECRET}')`, /is no login/],
  [
    `insert into rowgram_users (login, plain, domain) values ('a', '${SECRET}', 'b c')`,
    /a domain has no space/,
  ],
  [`insert into rowgram_users (login, plain) values ('there', '${SECRET}')`, /duplicate key/],
  [`update rowgram_users set plain = '${SECRET}', pass_md5 = '${SECRET}'`, /of no type/],
  [`select set_password('a', 'b', '')`, /the password of a is empty/],
  [`select set_password('a', 'b', null)`, /the password of a is empty/],
  [`select set_password('a', 'b', e'${SECRET}\\n')`, /has a control character/],
  [`select set_password('a', 'b', '${SECRET}', '{sha512}')`, /\{sha512\} are no verifiers/],
  [`select set_password('a', 'b', '${SECRET}', '{}')`, /is to have a password/],
  [`select set_password('a', '${SECRET} /', 'b')`, /a domain has no space/],
  [`select set_password('a@b', 'b', '${SECRET}')`, /is no login/],
];

test('what is no password, or of an unknown type, is refused, and no message repeats it', async () => {
  await using db = await testDatabase();
  await db.rows(`insert into rowgram_users (login, plain) values ('there', 'x')`);
  for (const [statement, reason] of REFUSED) {
    const error = await db.rows(statement).then(
      () => assert.fail(statement),
      (refusal: unknown) => refusal,
    );
    assert.match(tellAll(error), reason, statement);
    assert.doesNotMatch(tellAll(error), new RegExp(SECRET), statement);
  }
  assert.equal((await db.rows('select from rowgram_users')).length, 1);
});

test('no constraint is left that prints a row: NULL where none may be is folded', async () => {
  await using db = await testDatabase();
  await db.rows(`insert into rowgram_users (login, enabled, is_admin, password_set_at, plain)
    values ('a', null, null, null, 'secret')`);
  await db.rows('update rowgram_users set enabled = null, password_set_at = null, domain = null');
  const user = await userOf(db, 'a');
  assert.partialDeepStrictEqual(user, { enabled: false, is_admin: false, domain: '' });
});

test('an administrator makes users and sets their passwords, and reads none', async () => {
  await using db = await testDatabase();
  await db.rows('set role rowgram_admin');
  await db.rows("update rowgram_settings set users_domain = 'example.com'");
  await db.rows(SEED);
  await db.rows("update openfire_users set pass = md5('other'), name = 'Some' where enabled");
  await setPassword(db, 'someuser');
  await db.rows("insert into rowgram_groups (name) values ('team')");
  await db.rows(
    "insert into rowgram_group_members (group_name, login) values ('team', 'someuser')",
  );
  await db.rows("update rowgram_users set is_admin = true where login = 'someuser'");
  for (const column of [...ALL, 'plain']) {
    await assert.rejects(db.rows(`select ${column} from rowgram_users`), { code: '42501' }, column);
  }
  for (const view of ['openfire_users_view', 'openfire_accounts_view']) {
    await assert.rejects(db.rows(`select password from ${view}`), { code: '42501' }, view);
  }
  await assert.rejects(db.rows('select pass from openfire_users'), { code: '42501' });
  await db.rows('delete from openfire_users');
});
