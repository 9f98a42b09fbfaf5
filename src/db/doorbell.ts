/**
 * The doorbell of a queue: while its reader sleeps, an insert rings; while it is awake, an insert
 * costs one shared lock. The proof is in ARCHITECTURE.md, the other half in sql/20_queue.sql.
 */
import type pg from 'pg';

export type Doorbell = {
  /** Whether every insert into the armed shards rings from now on. */
  isArmed(): boolean;
  /**
   * Takes the locks of the shards. Waits for each producer that saw the reader awake, so rows that it
   * committed are visible to a fetch that begins after this.
   */
  arm(shards: number[]): Promise<void>;
  disarm(): Promise<void>;
};

/** @param client a connection of the doorbell's own, since it may wait for long */
export const createDoorbell = (client: pg.Client, table: string): Doorbell => {
  let armed = false;
  return {
    isArmed: () => armed,
    async arm(shards) {
      await client.query({
        name: 'arm',
        text: `select pg_advisory_lock('${table}'::regclass::oid::integer, s) from unnest($1::integer[]) s`,
        values: [shards],
      });
      armed = true;
    },
    async disarm() {
      armed = false;
      await client.query({ name: 'disarm', text: 'select pg_advisory_unlock_all()' });
    },
  };
};
