/** The SQL of attachments: what a row has, its bytes by pieces, and the URL that they got. */
import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';

const attachment = z.object({
  /** Null for a file. */
  sizeBytes: z.number().nullable(),
  path: z.string().nullable(),
  name: z.string().nullable(),
  type: z.string().nullable(),
});
export type Attachment = z.infer<typeof attachment>;

/** Null when the row is settled, such as by a person who cancelled it. */
export const selectAttachment = (db: DatabasePool, rowId: number): Promise<Attachment | null> =>
  db.maybeOne(sql.type(attachment)`
    select octet_length(attachment) as "sizeBytes", attachment_path as path, attachment_name as name,
      attachment_type as type
    from xmpp_tx_queue
    where id = ${rowId} and not settled`);

export const selectPiece = async (
  db: DatabasePool,
  rowId: number,
  startByte: number,
  sizeBytes: number,
): Promise<Buffer> => {
  const text = await db.maybeOneFirst(sql.type(z.object({ piece: z.string().nullable() }))`
    select encode(substring(attachment from ${startByte + 1} for ${sizeBytes}), 'base64') as piece
    from xmpp_tx_queue
    where id = ${rowId} and not settled`);
  return Buffer.from(text ?? '', 'base64');
};

export type Shard = { shard: number; epoch: number };

/** @returns whether the row still waits for it, and is ours */
export const updateUrl = async (
  db: DatabasePool,
  rowId: number,
  url: string,
  { shard, epoch }: Shard,
): Promise<boolean> => {
  const { rowCount } = await db.query(sql.unsafe`
    update xmpp_tx_queue q set oob_url = ${url}, next_try_at = null
    from rowgram_shards s
    where q.id = ${rowId} and not q.settled and s.gateway = 'xmpp' and s.shard = ${shard}
      and s.epoch = ${epoch}`);
  return rowCount === 1;
};
