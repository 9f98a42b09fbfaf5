/** The SQL of published items. */
import type pg from 'pg';
import type { NodeChange } from './events.ts';

/** Makes the rows of a node as the event says, and tells of it. */
export const updateItems = async (
  client: pg.Client,
  accountId: number,
  { service, node, isEmptied, items, retracted, publishedAt }: NodeChange,
): Promise<void> => {
  if (isEmptied || retracted.length > 0) {
    await client.query({
      name: 'delete_pubsub_items',
      text: `
        delete from xmpp_pubsub_items
        where account_id = $1 and service = $2 and node = $3 and ($4 or item_id = any($5::text[]))`,
      values: [accountId, service, node, isEmptied, retracted],
    });
  }
  await client.query({
    name: 'upsert_pubsub_items',
    text: `
      insert into xmpp_pubsub_items as p (account_id, service, node, item_id, payload, published_at)
      select $1, $2, $3, i.id, i.payload, coalesce($6, now())
      from unnest($4::text[], $5::text[]) as i (id, payload)
      on conflict (account_id, service, node, item_id) do update set
        payload = excluded.payload, published_at = excluded.published_at`,
    values: [
      accountId,
      service,
      node,
      items.map(({ id }) => id),
      items.map(({ payload }) => payload),
      publishedAt,
    ],
  });
  await client.query("select pg_notify('xmpp_pubsub_items', '')");
};
