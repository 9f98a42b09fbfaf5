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
import { createServerRole, type ServerRole } from './serverRole.ts';

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

/** A server's driver for Postgres is a package of its own. */
const skipWithoutDriver = (name: string, files: string): string | false =>
  skipWithout(name, globSync(files)[0] ?? null);

const SERVERS = [
  [
    'prosody',
    skipWithout('Prosody', findProsody()) ||
      skipWithoutDriver('lua-dbi-postgresql', '/usr/lib/{*/,}lua/5.*/dbd/postgresql.so'),
    launchProsody,
  ],
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
