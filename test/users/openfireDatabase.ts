/** A database as Openfire has it: its own tables beside ours, and a session under its role. */
import { readFile } from 'node:fs/promises';
import { type TestDatabase, testDatabase } from '../support/database.ts';

/** A file of openfire/. */
export const fileOf = (name: string): URL => new URL(`../../openfire/${name}`, import.meta.url);
export const read = (name: string): Promise<string> => readFile(fileOf(name), 'utf8');

/** Openfire's own tables, as far as we write them. */
const OWN_TABLES = `
  create schema openfire authorization openfire;
  set search_path = openfire, public;
  set role openfire;
  create table ofProperty (
    name varchar(100) not null, propValue varchar(4000) not null, encrypted integer, iv char(24),
    constraint ofProperty_pk primary key (name));
  create table ofExtComponentConf (
    subdomain varchar(255) not null, wildcard integer not null, secret varchar(255),
    permission varchar(10) not null, constraint ofExtComponentConf_pk primary key (subdomain));
  insert into ofProperty values ('provider.auth.className', 'the old one', 1, 'x');`;

/** Users, an account and a group; and then a session as Openfire's, with its properties written. */
export const openOpenfire = async (): Promise<TestDatabase> => {
  const db = await testDatabase();
  await db.client.query(`
    update rowgram_settings set users_domain = 'example.com';
    insert into openfire_users (login, pass, enabled, name, email) values
      ('Alice', md5('wonderland'), true, 'Alice Liddell', 'alice@example.com'),
      ('gone', md5('wonderland'), false, null, null),
      ('bot', md5('not the password of the account'), true, 'Bot', null);
    select set_password('bob', 'example.com', 'builder');
    select set_password('alice', 'elsewhere.org', 'other');
    insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host) values
      (true, 'Bot@example.com', 'of the account', ''), (true, 'bot@example.com', 'second', 'x'),
      (false, 'off@example.com', 'secret', ''), (true, 'env@example.com', 'env:SECRET', ''),
      (true, 'empty@example.com', '', ''), (true, 'bob@elsewhere.org', 'secret', '');
    update rowgram_users set is_admin = true where login in ('alice', 'gone');
    insert into rowgram_groups (name, description) values ('team', 'All of us'), ('void', null);
    insert into rowgram_groups (domain, name) values ('elsewhere.org', 'others');
    insert into rowgram_group_members (group_name, login, is_admin) values
      ('team', 'alice', true), ('team', 'bob', false), ('team', 'bot', false), ('team', 'gone', false);`);
  await db.client.query(OWN_TABLES);
  await db.client.query(await read('ofproperty.sql'));
  return db;
};

export const propertiesOf = async (db: TestDatabase): Promise<Map<string, string>> => {
  const rows = await db.rows<{ name: string; propvalue: string }>(
    'select name, propvalue from ofProperty order by name',
  );
  return new Map(rows.map(({ name, propvalue }) => [name, propvalue]));
};
