-- Settled and received rows are parted by month, so that forgetting them is dropping a table. What is
-- little is deleted.

create or replace function rowgram_create_partitions(months_ahead integer default 3) returns void
  language plpgsql security definer set search_path from current set lock_timeout = '2s' as $$
declare
  parent text;
  month date;
  part text;
begin
  foreach parent in array array['xmpp_tx_queue_settled', 'xmpp_iq_queue_settled', 'xmpp_rx_queue'] loop
    for month in
      select generate_series(date_trunc('month', now()), now() + make_interval(months => months_ahead), '1 month')
    loop
      part := parent || to_char(month, '_YYYY_MM');
      continue when to_regclass(format('%I', part)) is not null;
      execute format('create table %I (like %I including defaults)', part, parent);
      -- Rows of a month that had no partition went to the other ones, where they would forbid this one.
      execute format($move$
          with moved as (
            delete from %I where insert_timestamp >= %L and insert_timestamp < %L returning *)
          insert into %I select * from moved$move$,
        parent || '_other', month, month + interval '1 month', part);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)',
        parent, part, month, month + interval '1 month');
    end loop;
  end loop;
end
$$;

create or replace function rowgram_drop_partitions() returns setof text
  language plpgsql security definer set search_path from current set lock_timeout = '2s' as $$
declare
  old record;
begin
  perform pg_advisory_xact_lock('rowgram_settings'::regclass::oid::integer, 0);
  for old in
    select c.relname
    from rowgram_settings s
    cross join lateral (values
      ('xmpp_tx_queue_settled', s.queue_keep), ('xmpp_iq_queue_settled', s.queue_keep),
      ('xmpp_rx_queue', s.received_keep)) as k (parent, keep)
    join pg_inherits i on i.inhparent = to_regclass(k.parent)
    join pg_class c on c.oid = i.inhrelid and c.relname ~ '_[0-9]{4}_[0-9]{2}$'
    where to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' < now() - k.keep
  loop
    execute format('drop table %I', old.relname);
    return next old.relname;
  end loop;
  delete from rowgram_idempotency_keys k using rowgram_settings s where k.inserted_at < now() - s.queue_keep;
  delete from bytestream_log l using rowgram_settings s where l.ended_at < now() - s.received_keep;
  delete from bytestream_usage u using rowgram_settings s where u.hour < now() - s.received_keep;
end
$$;

select rowgram_create_partitions();
