/** `rowgram status`: what an operator asks first, read from the tables alone. */
import { connect, type DatabaseAddress } from './db/connect.ts';
import { formatTable } from './sql.ts';

const SECTIONS = {
  daemons: `
    select d.id, d.host, d.pid, d.version, date_trunc('second', now() - d.seen_at)::text as silent_for,
      (select count(*) from rowgram_shards s where s.daemon_id = d.id) as shards
    from rowgram_daemons d order by d.id`,
  accounts: `
    select id, acc_jid, enabled, state, state_info, date_trunc('second', now() - state_changed_at)::text as "for",
      next_try_at
    from xmpp_accounts order by id`,
  components: `
    select id, domain, gateway, enabled, state, state_info,
      date_trunc('second', now() - state_changed_at)::text as "for", next_try_at
    from xmpp_components order by id`,
  queued: `
    select coalesce(a.acc_jid, q.account_id::text, '(default)') as account, count(*) as rows,
      date_trunc('second', now() - min(q.insert_timestamp))::text as oldest, min(q.submission_info) as waits_because
    from xmpp_tx_queue q left join xmpp_accounts a on a.id = q.account_id
    where not q.settled group by 1 order by 1`,
  'settled in the last hour': `
    select state, count(*) as rows from xmpp_tx_queue
    where settled and insert_timestamp > now() - interval '1 hour' group by state order by state`,
  'received in the last hour': `
    select coalesce(a.acc_jid, r.account_id::text) as account, count(*) as rows
    from xmpp_rx_queue r left join xmpp_accounts a on a.id = r.account_id
    where r.insert_timestamp > now() - interval '1 hour' group by 1 order by 1`,
};

/** @returns a table for each section, or one JSON object with an array for each */
export const readStatus = async (
  address: DatabaseAddress,
  format: 'text' | 'json',
): Promise<string> => {
  const client = await connect(address, 'status', { queryTimeoutMs: 30_000 });
  try {
    const report: Record<string, Record<string, unknown>[]> = {};
    for (const [title, text] of Object.entries(SECTIONS)) {
      report[title] = (await client.query(text)).rows;
    }
    if (format === 'json') return `${JSON.stringify(report)}\n`;
    return Object.entries(report)
      .map(([title, rows]) => `${title}\n${formatTable(rows).replace(/^/gm, '  ').trimEnd()}\n`)
      .join('\n');
  } finally {
    await client.end();
  }
};
