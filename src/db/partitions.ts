/** The upkeep of the partitioned tables. */
import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';

/** Makes partitions ahead of time, and forgets what the settings no longer keep. @returns those dropped */
export const maintainPartitions = async (db: DatabasePool): Promise<readonly string[]> => {
  await db.query(sql.unsafe`select rowgram_create_partitions()`);
  return db.anyFirst(sql.type(z.object({ name: z.string() }))`
    select rowgram_drop_partitions() as name`);
};
