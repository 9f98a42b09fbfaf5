/** The daemon in a process of its own, with a private Prosody to talk to. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type pg from 'pg';
import { connect } from '../src/db/connect.ts';
import { migrate } from '../src/db/migrate.ts';
import { type PrivateProsody, startProsody } from '../src/demo/prosody.ts';
import { type Child, startChild } from './child.ts';
import { type Lab, until } from './lab.ts';

export type DaemonBench = {
  client: pg.Client;
  child: Child;
  prosody: PrivateProsody;
  password: string;
};

/** Prosody's archive in plain files is rewritten whole for each message once it is full. */
const NO_ARCHIVE = `modules_disabled = { "s2s", "s2s_auth_certs", "tls", "mam" }`;

/** @param names of the accounts that Prosody is to have */
export const openDaemon = async (
  lab: Lab,
  names: string[],
  nodeArgs: string[] = [],
): Promise<DaemonBench> => {
  const address = await lab.createDatabase();
  await migrate(address);
  const client = await connect(address, 'bench');
  lab.use({ close: () => client.end() });
  const password = randomBytes(12).toString('hex');
  const accounts = Object.fromEntries(names.map((name) => [name, password]));
  const settings = NO_ARCHIVE;
  const prosody = await startProsody({ dir: join(lab.dir, 'prosody'), accounts, settings });
  lab.use({ close: () => prosody.stop() });
  const child = lab.use(startChild('daemon', address.url, nodeArgs));
  await child.consume('throughput');
  lab.use({ close: () => child.stop() });
  return { client, child, prosody, password };
};

/** Enables the accounts, and waits until they are online. */
export const enableAccounts = async (bench: DaemonBench, names: string[]): Promise<void> => {
  const { client, prosody, password } = bench;
  await client.query(
    `insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host, srv_port)
    select true, name || '@' || $2, $3, $4, $5 from unnest($1::text[]) name`,
    [names, prosody.domain, password, prosody.host, prosody.port],
  );
  await until(client, "select not exists (select from xmpp_accounts where state <> 'online')");
};
