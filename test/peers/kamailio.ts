/** Runs a private Kamailio as our child: a real SIP server, on the loopback alone. */
import { globSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findProgram } from '../../src/demo/findProgram.ts';
import { findFreePort } from '../../src/demo/freePort.ts';
import { type GuardedChild, spawnGuarded } from '../../src/demo/guardedChild.ts';
import { ConfigError } from '../../src/errors.ts';

export type PrivateKamailio = {
  host: string;
  port: number;
  log(): string;
  stop(): Promise<void>;
};

const HOST = '127.0.0.1';
const START_MS = 10_000;
const STOP_MS = 3_000;
const MODULES = '/usr/lib/{*/,}kamailio/modules/db_postgres.so';

/** Kamailio with the module that it reads Postgres by. */
export const findKamailio = (): string | null =>
  globSync(MODULES).length > 0 ? findProgram('kamailio', ['/usr/sbin', '/usr/local/sbin']) : null;

/**
 * @param dir for its files; kept on stop
 * @param settings configuration with a `route[AUTH]`, which lets only users pass
 * @throws ConfigError when there is no Kamailio, or it does not start, with its own words
 */
export const startKamailio = async (dir: string, settings: string): Promise<PrivateKamailio> => {
  const program = findKamailio();
  if (program === null) throw new ConfigError('Kamailio is not installed');
  const port = await findFreePort(HOST);
  const config = join(dir, 'kamailio.cfg');
  await writeFile(config, formatConfig(port, settings), { mode: 0o600 });
  // Without a fork into the background, with its log on stderr, in little memory.
  const flags = ['-DD', '-E', '-m', '16', '-M', '4', '-Y', dir, '-f', config];
  const child = await spawnGuarded([program, ...flags], process.env);
  await waitUntilReady(child);
  return { host: HOST, port, log: () => child.log(), stop: () => child.stop(STOP_MS) };
};

const formatConfig = (port: number, settings: string): string => `#!KAMAILIO
debug = 2
children = 1
disable_tcp = yes
auto_aliases = no
listen = udp:${HOST}:${port}
mpath = "${dirname(globSync(MODULES)[0] ?? '')}/"
loadmodule "pv.so"
loadmodule "sl.so"
${settings}
request_route {
  route(AUTH);
  sl_send_reply("200", "OK");
}
`;

const waitUntilReady = async (child: GuardedChild): Promise<void> => {
  const match = await child.waitForLog(/Listening on|CRITICAL|ERROR|\[ended/, START_MS);
  if (match?.[0] === 'Listening on') return;
  await child.stop(0);
  throw new ConfigError(`Kamailio did not start. It said:\n${child.log()}`);
};
