/** The statements of a queue's hot path. All are named, so Postgres parses and plans them once. */

/** What makes a table a queue; the bookkeeping columns are common to all, these differ. */
export type QueueTable = {
  /** The partitioned table that users insert into, such as xmpp_tx_queue. */
  name: string;
  /** The gateway whose shards own the rows, as in rowgram_shards. */
  gateway: string;
  /** The column that names the link. */
  linkColumn: string;
  /** Select list of what the gateway needs of a row, with aliases in camelCase. */
  content: string;
};

export const PAGE_ROWS = 500;

export type QueueSql = ReturnType<typeof buildQueueSql>;

export const buildQueueSql = ({ name, gateway, linkColumn, content }: QueueTable) => {
  const shard = `coalesce(q.${linkColumn} & 63, 64)`;
  const inMs = (column: string) => `extract(epoch from q.${column} - now())::float8 * 1000`;
  const columns = `q.id, q.${linkColumn} as "linkId", q.priority, q.attempts,
    q.state = 'submitting' as "isSubmitting",
    ${inMs('send_after')} as "sendInMs", ${inMs('expires_at')} as "expiresInMs",
    ${inMs('next_try_at')} as "nextTryInMs", ${content}`;
  // Every path of the plans below is an index; a table that was empty when it was last analysed
  // must not talk the planner into a scan or a hash join.
  const prepare = `set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
    set enable_bitmapscan = off; set plan_cache_mode = force_generic_plan; set jit = off`;

  const page = (link: string, after: string, limit: string) => `
    select ${columns} from ${name} q
    where not q.settled and q.${linkColumn} ${link} and (q.priority, q.id) > ${after}
      and (q.send_after is null or q.send_after <= now())
    order by q.priority, q.id limit ${limit}`;

  const annotate = (link: string) => `
    update ${name} q set submission_info = $1
    where q.id = any(array(
        select q.id from ${name} q
        where not q.settled and q.${linkColumn} ${link} and q.submission_info is distinct from $1
        limit ${PAGE_ROWS}))
      and not q.settled
    returning q.id`;

  return {
    prepare,

    snapshot: { name: 'snapshot', text: 'select pg_current_snapshot()::text as snapshot' },

    /** Rows that became visible after snapshot $1, in shards $2; and the snapshot to go on from. */
    window: {
      name: 'window',
      text: `
        select now.snapshot, fresh.*
        from (select pg_current_snapshot()::text as snapshot) now
        left join lateral (
          select ${columns} from ${name} q
          where not q.settled and q.txid >= pg_snapshot_xmin($1::pg_snapshot)
            and not pg_visible_in_snapshot(q.txid, $1::pg_snapshot)
            and ${shard} = any($2::integer[])
          limit ${PAGE_ROWS}) fresh on true`,
    },

    /** Links of any shard that have unsettled rows, by skipping from one to the next in the index. */
    links: {
      name: 'links',
      text: `
        with recursive link (id) as (
          (select q.${linkColumn} from ${name} q
            where not q.settled and q.${linkColumn} is not null order by q.${linkColumn} limit 1)
          union all
          select (select q.${linkColumn} from ${name} q
            where not q.settled and q.${linkColumn} > link.id order by q.${linkColumn} limit 1)
          from link where link.id is not null)
        select id from link where id is not null
        union all
        select null where exists (select from ${name} q where not q.settled and q.${linkColumn} is null)`,
    },

    /** The next rows of link $1 behind priority $2, id $3. */
    page: { name: 'page', text: page('= $1', '($2, $3)', `${PAGE_ROWS}`) },

    /** The same for the default link, which also sends the rows that name no link. */
    defaultPage: {
      name: 'default_page',
      text: `
        select * from (
          (${page('= $1', '($2, $3)', `${PAGE_ROWS}`)}) union all
          (${page('is null', '($2, $3)', `${PAGE_ROWS}`)})) both_links
        order by priority, id limit ${PAGE_ROWS}`,
    },

    /** Rows of shards $2 whose send_after has passed since $1; no row is told twice but for clock ties. */
    due: {
      name: 'due',
      text: `
        select ${columns} from ${name} q
        where not q.settled and q.send_after > $1::timestamptz and q.send_after <= now()
          and ${shard} = any($2::integer[])`,
    },

    /** Now, and milliseconds until the next row is due or expires; null for none. */
    times: {
      name: 'times',
      text: `
        select now()::text as now,
          extract(epoch from (
            select q.send_after from ${name} q where not q.settled and q.send_after > now()
            order by q.send_after limit 1) - now())::float8 * 1000 as "dueInMs",
          extract(epoch from (
            select q.expires_at from ${name} q where not q.settled and q.expires_at is not null
            order by q.expires_at limit 1) - now())::float8 * 1000 as "expiresInMs"`,
    },

    /** Expires rows of shards $1 that are not among the taken ones, $2. */
    expire: {
      name: 'expire',
      text: `
        update ${name} q set settled = true, state = 'expired', submission_info = 'expired before it was sent'
        where q.id = any(array(
            select q.id from ${name} q
            where not q.settled and q.state = 'queued' and q.expires_at <= now() and ${shard} = any($1::integer[])
              and q.id <> all($2::bigint[])
            limit ${PAGE_ROWS}))
          and not q.settled
        returning q.id`,
    },

    /**
     * Settles rows: arrays of id, state, info, stanza id, link, shard; and the shards held, with their
     * epochs. Returns those it did.
     */
    settle: {
      name: 'settle',
      text: `
        with settled as (
          update ${name} q set
            settled = true, state = r.state, submission_info = r.info, stanza_id = r.stanza_id,
            submission_timestamp = case when r.state = 'submitted' then now() end,
            submission_failed = r.state = 'failed',
            ${linkColumn} = coalesce(q.${linkColumn}, r.link_id)
          from unnest($1::bigint[], $2::rowgram_state[], $3::text[], $4::text[], $5::bigint[],
            $6::integer[]) as r (id, state, info, stanza_id, link_id, shard)
          where q.id = r.id and not q.settled
            -- An error may have come back and put the row off, before this.
            and (r.state <> 'submitted' or q.next_try_at is null or q.next_try_at <= now() + interval '1 s')
            and r.shard = any(array(
            select s.shard
            from unnest($7::integer[], $8::bigint[]) as held (shard, epoch)
            join rowgram_shards s on s.gateway = '${gateway}' and s.shard = held.shard
              and s.epoch = held.epoch))
          returning q.id)
        select array(select id from settled) as settled, pg_notify('${name}_results', '')`,
    },

    /** Rows that were cancelled while they were on their way: they did go out. */
    overrule: {
      name: 'overrule',
      text: `
        update ${name} q set state = 'submitted', submission_timestamp = now(), stanza_id = r.stanza_id,
          submission_info = 'cancelled too late, it had been sent'
        from unnest($1::bigint[], $2::text[]) as r (id, stanza_id)
        where q.id = r.id and q.settled and q.state = 'cancelled'`,
    },

    /**
     * Says of rows that they may have gone out: arrays of id and shard, and the shards held with their
     * epochs. Returns those that are still to be done.
     */
    mark: {
      name: 'mark',
      text: `
        update ${name} q set state = 'submitting'
        from unnest($1::bigint[], $2::integer[]) as r (id, shard)
        where q.id = r.id and not q.settled and r.shard = any(array(
          select s.shard
          from unnest($3::integer[], $4::bigint[]) as held (shard, epoch)
          join rowgram_shards s on s.gateway = '${gateway}' and s.shard = held.shard
            and s.epoch = held.epoch))
        returning q.id`,
    },

    /** Puts row $1 off by $2 milliseconds because of $3, under the epoch $5 of shard $4. */
    putOff: {
      name: 'put_off',
      text: `
        update ${name} q set attempts = q.attempts + 1, submission_info = $3,
          next_try_at = now() + make_interval(secs => $2::float8 / 1000)
        from rowgram_shards s
        where q.id = $1 and not q.settled and s.gateway = '${gateway}' and s.shard = $4 and s.epoch = $5`,
    },

    /** Tells the rows of link $2 why they wait, $1, a page at a time. */
    annotate: { name: 'annotate', text: annotate('= $2') },

    /** The same for the rows that name no link. */
    annotateDefault: { name: 'annotate_default', text: annotate('is null') },

    /** Fails the rows of link $1 because of $2, a page at a time. */
    reject: {
      name: 'reject',
      text: `
        update ${name} q set settled = true, state = 'failed', submission_failed = true, submission_info = $2
        where q.id = any(array(
            select q.id from ${name} q where not q.settled and q.${linkColumn} = $1 limit ${PAGE_ROWS}))
          and not q.settled
        returning q.id`,
    },

    /** Which of the ids are still to be done. */
    remaining: {
      name: 'remaining',
      text: `select q.id from ${name} q where q.id = any($1::bigint[]) and not q.settled`,
    },
  };
};
