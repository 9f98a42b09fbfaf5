/** pg-boss at its best batch size, once woken by inserts and once looking twice a second. */
import { PgBoss } from 'pg-boss';
import { connect, type DatabaseAddress, urlWithSchema } from '../../src/db/connect.ts';
import type { Engine } from './engine.ts';

const QUEUE = 'noop';
const BATCH_ROWS = 500;
/** The shortest that it takes. */
const POLL_S = 0.5;

type Waking = 'notified' | 'polling';

const openBoss = async (
  address: DatabaseAddress,
  waking: Waking,
  role: 'consumer' | 'producer',
): Promise<PgBoss> => {
  const boss = new PgBoss({
    connectionString: urlWithSchema(address),
    supervise: false,
    schedule: false,
    useListenNotify: role === 'consumer' && waking === 'notified',
  });
  boss.on('error', () => {});
  await boss.start();
  return boss;
};

const closeBoss = (boss: PgBoss) => boss.stop({ graceful: true, close: true, timeout: 10_000 });

const createPgBoss = (waking: Waking): Engine => ({
  name: waking === 'notified' ? 'pg-boss' : `pg-boss, polling`,
  async install(address) {
    const boss = await openBoss(address, waking, 'producer');
    await boss.createQueue(QUEUE, { notify: waking === 'notified' });
    await closeBoss(boss);
  },
  async fill(client, rows) {
    await client.query(
      `insert into pgboss.job (name, data, policy, retry_limit, expire_seconds)
      select $1, json_build_object('key', i), 'standard', 0, 900 from generate_series(1, $2::integer) i`,
      [QUEUE, rows],
    );
  },
  async openProducers(address, count) {
    const boss = await openBoss(address, waking, 'producer');
    const clients = await Promise.all(
      Array.from({ length: count }, () => connect(address, 'bench')),
    );
    return {
      inserts: clients.map((client) => {
        const db = { executeSql: (text: string, values?: unknown[]) => client.query(text, values) };
        return async (key: number) => {
          await boss.send(QUEUE, { key }, { db });
        };
      }),
      async close() {
        await Promise.all(clients.map((client) => client.end()));
        await closeBoss(boss);
      },
    };
  },
  isEmpty: `select not exists (
    select from pgboss.job where name = '${QUEUE}' and state < 'completed') as "isEmpty"`,
  async consume(address, aim, onStart) {
    const boss = await openBoss(address, waking, 'consumer');
    const options = {
      batchSize: aim === 'throughput' ? BATCH_ROWS : 1,
      burstWhenBatchFull: true,
      pollingIntervalSeconds: POLL_S,
      notifyPollingIntervalSeconds: POLL_S,
    };
    await boss.work<{ key: number }>(QUEUE, options, async (jobs) => {
      for (const { data } of jobs) onStart(data.key);
    });
    return { stop: () => closeBoss(boss) };
  },
});

export const pgBoss = createPgBoss('notified');
export const pgBossPolling = createPgBoss('polling');
