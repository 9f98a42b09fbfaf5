/** What can go wrong, each as a deed that heals by itself before it settles. */
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '../../src/db/connect.ts';
import type { Random } from './random.ts';
import type { ChaosAccount, World } from './world.ts';

export type Fault = {
  kind: string;
  /** The accounts that it touches. */
  reach: 'one' | 'all';
  /** Settles when all that was broken has been mended; the daemon has yet to notice. */
  inflict(world: World, account: ChaosAccount, random: Random): Promise<void>;
};

/** The daemon bears 0.5 s of silence and 1.5 s without an answer: these last from too short to be seen to well beyond. */
const outageMs = (random: Random): number => random.between(200, 3_000);

const network = (
  kind: string,
  act: (proxy: ChaosAccount['proxy'], random: Random) => Promise<void> | void,
): Fault => ({
  kind,
  reach: 'one',
  inflict: async (_world, { proxy }, random) => act(proxy, random),
});

const NETWORK: Fault[] = [
  network('connection reset', (proxy) => proxy.reset()),
  network('connection closed', (proxy) => proxy.close()),
  network('server gone, connection half open', (proxy) => proxy.halfOpen('server')),
  network('daemon gone, connection half open', (proxy) => proxy.halfOpen('client')),
  network('packets late', async (proxy, random) => {
    proxy.blackhole('hold');
    await delay(outageMs(random));
    proxy.blackhole('off');
  }),
  network('packets lost, then a reset', async (proxy, random) => {
    proxy.blackhole('drop');
    await delay(outageMs(random));
    // With bytes missing in its middle a connection cannot go on.
    proxy.reset();
    proxy.blackhole('off');
  }),
  network('stalled towards the server', async (proxy, random) => {
    proxy.stall('toServer');
    await delay(outageMs(random));
    proxy.stall('off');
  }),
  network('stalled towards the daemon', async (proxy, random) => {
    proxy.stall('toClient');
    await delay(outageMs(random));
    proxy.stall('off');
  }),
  network('trickle', async (proxy, random) => {
    proxy.trickle(random.between(20, 200), random.between(5, 20));
    await delay(outageMs(random));
    proxy.trickle(Number.POSITIVE_INFINITY, 0);
  }),
  network('connections refused', async (proxy, random) => {
    proxy.refuse('on');
    proxy.reset();
    await delay(outageMs(random));
    proxy.refuse('off');
  }),
];

const DAEMON: Fault[] = [
  {
    kind: 'daemon killed',
    reach: 'all',
    async inflict(world) {
      world.daemon().kill('SIGKILL');
      await world.daemon().ended;
      await world.startDaemon();
    },
  },
  {
    kind: 'daemon stopped and started',
    reach: 'all',
    async inflict(world) {
      await world.daemon().stop(10_000);
      await world.startDaemon();
    },
  },
  {
    kind: 'daemon frozen',
    reach: 'all',
    async inflict(world, _account, random) {
      world.daemon().kill('SIGSTOP');
      await delay(outageMs(random));
      world.daemon().kill('SIGCONT');
    },
  },
];

const SERVERS: Fault[] = [
  {
    kind: 'PostgreSQL restarted',
    reach: 'all',
    inflict: (world) => world.restartPostgres('stop'),
  },
  {
    kind: 'PostgreSQL killed',
    reach: 'all',
    inflict: (world) => world.restartPostgres('kill'),
  },
  { kind: 'Prosody restarted', reach: 'all', inflict: (world) => world.prosody.restart() },
];

/** The connections of the daemon, by the end of the name that each goes by. */
const CONNECTIONS = ['control', 'queue xmpp_tx_queue', 'doorbell xmpp_tx_queue', 'inbox', 'listen'];

const endBackends = async (world: World, condition: string, values: unknown[]): Promise<void> => {
  const client = await connect(world.address, 'chaos');
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid() and ${condition}`,
    values,
  );
  await client.end();
};

const BACKENDS: Fault[] = [
  ...CONNECTIONS.map(
    (name): Fault => ({
      kind: `database connection ended: ${name}`,
      reach: 'all',
      inflict: (world) => endBackends(world, 'application_name = $1', [`rowgram ${name}`]),
    }),
  ),
  {
    kind: 'database connection ended: pool',
    reach: 'all',
    inflict: (world) => endBackends(world, `application_name not like 'rowgram%'`, []),
  },
];

export const FAULTS: readonly Fault[] = [...NETWORK, ...DAEMON, ...SERVERS, ...BACKENDS];

/** Faults that an XMPP server in memory may not survive without loss of what it had acknowledged. */
export const SERVER_LOSES: readonly string[] = ['Prosody restarted'];
