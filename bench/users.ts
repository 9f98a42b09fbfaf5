/** How long a server waits for a user: through the view, from a plain table, and without the index. */
import { connect } from '../src/db/connect.ts';
import { migrate } from '../src/db/migrate.ts';
import { nowMs } from './clock.ts';
import { absolute, atMost, compared, type Figure, median } from './figure.ts';
import type { Lab } from './lab.ts';

const USERS = 100_000;
const ACCOUNTS = 1_000;

const FILL = `
  insert into rowgram_users (login, pass_md5, name)
  select 'user' || i, md5(i::text), 'User ' || i from generate_series(1, ${USERS}) i;
  insert into xmpp_accounts (enabled, acc_jid, acc_pass)
  select true, 'account' || i || '@localhost', 'secret' from generate_series(1, ${ACCOUNTS}) i;
  create table plain_users (username text primary key, password text);
  insert into plain_users select login, pass_md5 from rowgram_users;`;

const WITHOUT_INDEX = `
  alter table rowgram_users drop constraint rowgram_users_pkey;
  drop index xmpp_accounts_username_idx;`;

const VIEW = 'select password from openfire_users_view where username = $1';
const PLAIN = 'select password from plain_users where username = $1';

/** Milliseconds of a lookup as its client sees it, the mean of so many one after the other. */
type Measure = (text: string, lookups: number) => Promise<number>;

const openUsers = async (lab: Lab, change: string): Promise<Measure> => {
  const address = await lab.createDatabase();
  await migrate(address);
  const client = await connect(address, 'bench');
  lab.use({ close: () => client.end() });
  await client.query(FILL + change);
  await client.query('vacuum analyze');
  return async (text, lookups) => {
    const startedAtMs = nowMs();
    for (let count = 0; count < lookups; count += 1) {
      const login = `user${1 + Math.floor(Math.random() * USERS)}`;
      const { rowCount } = await client.query({ name: text, text, values: [login] });
      if (rowCount !== 1) throw new Error(`${login} was not found`);
    }
    return (nowMs() - startedAtMs) / lookups;
  };
};

export const lookup = async (lab: Lab): Promise<Figure[]> => {
  const isQuick = lab.scale === 'quick';
  const lookups = isQuick ? 500 : 5_000;
  const indexed = await openUsers(lab, '');
  const bare = await openUsers(lab, WITHOUT_INDEX);
  const times = { view: [] as number[], plain: [] as number[], without: [] as number[] };
  // The first round warms the code and the caches up.
  for (let round = 0; round <= (isQuick ? 2 : 5); round += 1) {
    const view = await indexed(VIEW, lookups);
    const plain = await indexed(PLAIN, lookups);
    const without = await bare(VIEW, lookups / 100);
    lab.say(
      `lookup: view ${view.toFixed(3)}, plain ${plain.toFixed(3)}, without ${without.toFixed(3)} ms`,
    );
    if (round === 0) continue;
    times.view.push(view);
    times.plain.push(plain);
    times.without.push(without);
  }
  const name = `lookup among ${USERS} users and ${ACCOUNTS} accounts`;
  const { view: ours, plain, without } = times;
  return [
    absolute(name, median(ours), 'ms', atMost('value', 2)),
    compared(name, 'ms', 'plain table, primary key', { ours, baseline: plain }, atMost('ratio', 3)),
    compared(name, 'ms', 'no index', { ours, baseline: without }, atMost('ratio', 0.1)),
  ];
};
