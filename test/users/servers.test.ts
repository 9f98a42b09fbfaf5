/** Users of the table log in to real servers, each configured as servers/ says. */
import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findProsody, startProsody } from '../../src/demo/prosody.ts';
import { findEjabberd, startEjabberd } from '../peers/ejabberd.ts';
import { findKamailio, startKamailio } from '../peers/kamailio.ts';
import { connectRaw } from '../peers/rawClient.ts';
import { registerSip } from '../peers/sipClient.ts';
import { connectSlixmpp } from '../peers/slixmpp.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import { SLIXMPP_SKIP, skipWithout } from '../support/scene.ts';
import { createServerRole, peep, type ServerRole } from './serverRole.ts';

const DOMAIN = 'example.com';
const PASSWORD = 'a „secret“ ﬁve words';

type Running = { host: string; port: number; log(): string; stop(): Promise<void> };
type Scram = 'SHA-1' | 'SHA-256';

/** `key: value` lines of YAML. */
const readOptions = (text: string): Record<string, string | number | boolean> =>
  Object.fromEntries(
    [...text.matchAll(/^(\w+): (.*)$/gm)].map(([, key = '', value = '']) => [
      key,
      /^(\d+|true|false)$/.test(value) ? JSON.parse(value) : value,
    ]),
  );

const launchProsody = async (role: ServerRole, dir: string, scram: Scram): Promise<Running> => {
  const text = await role.configure('prosody.cfg.lua');
  const settings = `${text}\npassword_hash = "${scram}"`;
  return startProsody({ dir, domain: DOMAIN, accounts: {}, settings });
};

const launchEjabberd = async (role: ServerRole, dir: string, scram: Scram): Promise<Running> => {
  const options = readOptions(await role.configure('ejabberd.yml'));
  const settings = { ...options, auth_scram_hash: scram === 'SHA-1' ? 'sha' : 'sha256' };
  return startEjabberd({ dir, domain: DOMAIN, accounts: {}, settings });
};

/** A server's driver for Postgres, or its module, is a package of its own. */
const skipWithoutDriver = (name: string, files: string): string | false =>
  skipWithout(name, globSync(files)[0] ?? null);

const PROSODY_SKIP =
  skipWithout('Prosody', findProsody()) ||
  skipWithoutDriver('lua-dbi-postgresql', '/usr/lib/{*/,}lua/5.*/dbd/postgresql.so');

const SERVERS = [
  ['prosody', PROSODY_SKIP, launchProsody],
  [
    'ejabberd',
    skipWithout('ejabberd', findEjabberd()) ||
      skipWithoutDriver('erlang-p1-pgsql', '/usr/lib/{*/,}erlang/lib/p1_pgsql-*'),
    launchEjabberd,
  ],
] as const;

/** A database with alice, and a server that reads it. */
const openScene = async (
  name: (typeof SERVERS)[number][0] | 'kamailio',
  launch: (role: ServerRole, dir: string) => Promise<Running>,
  settings: Record<string, string> = {},
) => {
  const dir = await mkdtemp(join(tmpdir(), 'users-'));
  const db = await testDatabase();
  const role = await createServerRole(db, name, settings);
  await setPassword(db, 'alice', PASSWORD);
  const server = await launch(role, dir);
  return {
    db,
    server,
    async close() {
      await server.stop();
      await role.drop();
      await db[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
};

const setPassword = (db: TestDatabase, login: string, password: string) =>
  db.rows('select set_password($1, $2, $3)', [login, DOMAIN, password]);

const enable = (db: TestDatabase, enabled: boolean) =>
  db.rows("update rowgram_users set enabled = $1 where login = 'alice'", [enabled]);

for (const [name, skip, launch] of SERVERS) {
  for (const scram of ['SHA-1', 'SHA-256'] as const) {
    describe(`${name} with SCRAM-${scram}`, { skip: skip || SLIXMPP_SKIP }, () => {
      let scene: Awaited<ReturnType<typeof openScene>>;
      before(async () => {
        const settings = scram === 'SHA-1' ? {} : { 'rowgram.scram': 'sha-256' };
        scene = await openScene(name, (role, dir) => launch(role, dir, scram), settings);
      });
      after(() => scene?.close());

      const account = (password: string) => ({
        host: scene.server.host,
        port: scene.server.port,
        jid: `alice@${DOMAIN}`,
        password,
      });
      const byPlain = async (password = PASSWORD) =>
        (await connectRaw({ ...account(password), presence: false })).close();
      const byScram = async (password = PASSWORD) => {
        const options = { presence: false, mechanism: `SCRAM-${scram}` };
        await (await connectSlixmpp({ ...account(password), ...options })).close();
      };

      test('a user logs in, with PLAIN and with SCRAM', async () => {
        await byPlain();
        await byScram();
      });

      test('a wrong password is refused', async () => {
        await assert.rejects(byPlain('wrong'), /not-authorized/);
        await assert.rejects(byScram('wrong'), /not authorized/);
      });

      test('a disabled user is refused, and let in again when enabled', async () => {
        await enable(scene.db, false);
        await assert.rejects(byPlain(), /not-authorized/);
        await assert.rejects(byScram(), /not authorized/);
        await enable(scene.db, true);
        await byPlain();
        await byScram();
      });

      test('a password that is changed in SQL counts at the next login', async () => {
        await setPassword(scene.db, 'alice', 'another');
        await byPlain('another');
        await byScram('another');
        await assert.rejects(byPlain(), /not-authorized/);
        await setPassword(scene.db, 'alice', PASSWORD);
      });
    });
  }
}

const AUTH_SQL = '/usr/lib/prosody/modules/mod_auth_sql/*.lua';
const authSqlSkip = PROSODY_SKIP || SLIXMPP_SKIP || skipWithoutDriver('mod_auth_sql', AUTH_SQL);

describe('prosody with mod_auth_sql', { skip: authSqlSkip }, () => {
  test('a user with a password in plain logs in, with PLAIN and with SCRAM', async () => {
    const scene = await openScene('prosody', async (role, dir) => {
      const text = await role.configure('prosody.cfg.lua');
      const settings = `${text}\nauthentication = "sql"\nstorage = "internal"`;
      return startProsody({ dir, domain: DOMAIN, accounts: {}, settings });
    });
    try {
      const { host, port } = scene.server;
      const account = { host, port, jid: `alice@${DOMAIN}`, presence: false };
      const [password, mechanism] = ['in plain', 'SCRAM-SHA-1'];
      await assert.rejects(connectRaw({ ...account, password: PASSWORD }), /not-authorized/);
      await scene.db.rows("select set_password('alice', $1, $2, '{plain}')", [DOMAIN, password]);
      await (await connectRaw({ ...account, password })).close();
      await (await connectSlixmpp({ ...account, password, mechanism })).close();
      await assert.rejects(connectRaw({ ...account, password: 'wrong' }), /not-authorized/);
    } finally {
      await scene.close();
    }
  });
});

describe('kamailio', { skip: skipWithout('Kamailio', findKamailio()) }, () => {
  let scene: Awaited<ReturnType<typeof openScene>>;
  before(async () => {
    const launch = async (role: ServerRole, dir: string) =>
      startKamailio(dir, await role.configure('kamailio.cfg'));
    scene = await openScene('kamailio', launch);
  });
  after(() => scene?.close());

  const register = (password: string, username = 'alice') => {
    const { host, port } = scene.server;
    return registerSip({ host, port, user: 'alice', domain: DOMAIN, password, username });
  };

  test('a user registers, a wrong password is refused', async () => {
    assert.deepEqual(await register(PASSWORD), [401, 200]);
    assert.deepEqual(await register('wrong'), [401, 401]);
    assert.deepEqual(await register(PASSWORD, 'nobody'), [401, 401]);
  });

  test('a user whose name in the digest has the domain registers (HA1b)', async () => {
    assert.deepEqual(await register(PASSWORD, `alice@${DOMAIN}`), [401, 200]);
  });

  test('a disabled user is refused, a changed password counts at once', async () => {
    await enable(scene.db, false);
    assert.deepEqual(await register(PASSWORD), [401, 401]);
    await enable(scene.db, true);
    await setPassword(scene.db, 'alice', 'another');
    assert.deepEqual(await register(PASSWORD), [401, 401]);
    assert.deepEqual(await register('another'), [401, 200]);
  });
});

const SEEN = `
  select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname not in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'p', 'v', 'm')
    and has_schema_privilege($1, n.oid, 'usage')
    and has_any_column_privilege($1, c.oid, 'select, insert, update, references')
  order by 1`;

test("the role of a server reads the server's own views, and nothing else", async () => {
  await using db = await testDatabase();
  const views = {
    prosody: ['prosody.authreg', 'prosody.prosody'],
    ejabberd: ['ejabberd.users'],
    kamailio: ['kamailio.subscriber', 'kamailio.version'],
  };
  for (const server of ['prosody', 'ejabberd', 'kamailio'] as const) {
    // Twice: the files are safe to run again.
    await (await createServerRole(db, server)).drop();
    await (await createServerRole(db, server)).drop();
    const seen = await db.rows<{ name: string }>(SEEN, [server]);
    assert.deepEqual(
      seen.map(({ name }) => name),
      views[server],
    );
    await db.rows(`set role ${server}`);
    await assert.rejects(db.rows('select from public.rowgram_users'), { code: '42501' });
    await assert.rejects(db.rows("select public.set_password('a', 'b', 'c')"), { code: '42501' });
    for (const view of views[server]) {
      await db.rows(`select * from ${view}`);
      const change = /cannot (delete|insert)|permission denied/;
      await assert.rejects(db.rows(`delete from ${view}`), change);
    }
    await db.rows('reset role');
  }
});

test('a server sees those who may log in, and finds each by the index', async () => {
  await using db = await testDatabase();
  const lookups = {
    prosody: `select from prosody where host = '${DOMAIN}' and "user" = 'user7' and store = 'accounts'`,
    ejabberd: `select from users where username = 'user7' and server_host = '${DOMAIN}'`,
    kamailio: `select from subscriber where username = 'user7' and domain = '${DOMAIN}'`,
  };
  const columns = { prosody: 'user', ejabberd: 'username', kamailio: 'username' };
  await setPassword(db, 'user7', PASSWORD);
  await setPassword(db, 'gone', PASSWORD);
  await db.rows("update rowgram_users set enabled = false where login = 'gone'");
  await db.rows(
    `insert into rowgram_users (login, domain, pass_md5)
    select 'other' || i, $1, md5('x') from generate_series(1, 10000) i`,
    [DOMAIN],
  );
  await db.rows('analyze rowgram_users');
  for (const server of ['prosody', 'ejabberd', 'kamailio'] as const) {
    await (await createServerRole(db, server)).drop();
    await db.rows(`set role ${server}`);
    await db.rows(`set search_path = ${server}`);
    const plan = await db.rows<Record<string, string>>(`explain ${lookups[server]}`);
    assert.match(JSON.stringify(plan), /rowgram_users_pkey/);
    const [view = ''] = /(?<=from )\w+/.exec(lookups[server]) ?? [];
    assert.deepEqual(await peep(db, view, `"${columns[server]}"`), ['user7']);
    await db.rows('reset role');
    await db.rows('reset search_path');
  }
});

test('authreg has the password of who has it in plain, and of nobody else', async () => {
  await using db = await testDatabase();
  await (await createServerRole(db, 'prosody')).drop();
  await setPassword(db, 'alice', PASSWORD);
  await db.rows("select set_password('bob', $1, 'secret', '{scram-sha-1,plain}')", [DOMAIN]);
  await db.rows('set role prosody');
  assert.deepEqual(await db.rows('select * from prosody.authreg'), [
    { username: 'bob', realm: DOMAIN, password: 'secret' },
  ]);
});
