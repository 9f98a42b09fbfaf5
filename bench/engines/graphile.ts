/** Graphile Worker, as fast as its documentation knows how to make it. */
import { Logger, run, runMigrations } from 'graphile-worker';
import { urlWithSchema } from '../../src/db/connect.ts';
import { openClients } from './clients.ts';
import type { Aim, Engine } from './engine.ts';

const CONCURRENCY = 100;
const FETCH_ROWS = 500;

const logger = new Logger(() => () => {});

// A local queue makes the most of each fetch; without one a lone job is started sooner.
const presetOf = (aim: Aim) => ({
  worker: {
    concurrentJobs: CONCURRENCY,
    ...(aim === 'throughput' && { localQueue: { size: FETCH_ROWS }, completeJobBatchDelay: 10 }),
  },
});

export const graphile: Engine = {
  name: 'graphile-worker',
  install: (address) => runMigrations({ connectionString: urlWithSchema(address), logger }),
  async fill(client, rows) {
    await client.query(
      `select count(*) from graphile_worker.add_jobs((
        select array_agg(('noop', json_build_object('key', i), null, null, null, null, null, null)
          ::graphile_worker.job_spec)
        from generate_series(1, $1::integer) i))`,
      [rows],
    );
  },
  openProducers: (address, count) =>
    openClients(
      address,
      count,
      `select graphile_worker.add_job('noop', json_build_object('key', $1::text::integer))`,
    ),
  isEmpty: 'select not exists (select from graphile_worker._private_jobs) as "isEmpty"',
  async consume(address, aim, onStart) {
    const runner = await run({
      connectionString: urlWithSchema(address),
      preset: presetOf(aim),
      noHandleSignals: true,
      logger,
      taskList: {
        // What `fill` and the producers have put there.
        noop: (payload) => onStart((payload as { key: number }).key),
      },
    });
    return { stop: () => runner.stop() };
  },
};
