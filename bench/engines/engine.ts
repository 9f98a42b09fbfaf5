/** What is measured side by side: a queue in Postgres, with a consumer whose handler does nothing. */
import type pg from 'pg';
import type { DatabaseAddress } from '../../src/db/connect.ts';

/** What the consumer is set up for: the most rows a second, or the shortest wait for the next one. */
export type Aim = 'throughput' | 'latency';

export type Consumer = { stop(): Promise<void> };

export type Producers = {
  /** One insert each, a transaction of its own; each uses its own connection. */
  inserts: ((key: number) => Promise<void>)[];
  close(): Promise<void>;
};

export type Engine = {
  name: string;
  /** Makes its tables in an empty database. */
  install(address: DatabaseAddress): Promise<void>;
  /** Inserts rows in one transaction, the fastest way the engine has. */
  fill(client: pg.Client, rows: number): Promise<void>;
  openProducers(address: DatabaseAddress, count: number): Promise<Producers>;
  /** A query for one boolean: whether every row is finished. */
  isEmpty: string;
  /** @param onStart called with the key of each row whose handling begins */
  consume(address: DatabaseAddress, aim: Aim, onStart: (key: number) => void): Promise<Consumer>;
};
