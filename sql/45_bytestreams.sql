-- A stream that an operator deletes is in the log at once, whether a daemon runs or not. The daemon, whose
-- own deletions are no kills, hears of it and ends the stream; its last count then goes to the same row.
create or replace function rowgram_log_killed() returns trigger language plpgsql
  security definer set search_path from current as $$
begin
  insert into bytestream_log (id, proxy, sid, hash, requester, target, requester_address, target_address,
    bytes_up, bytes_down, activated_at, last_byte_at, ended_at, reason)
  select id, proxy, sid, hash, requester, target, requester_address, target_address,
    bytes_up, bytes_down, activated_at, last_byte_at, now(), 'killed'
  from gone
  on conflict (id) do nothing;
  perform pg_notify('notify_table_change', tg_table_name);
  return null;
end
$$;

create or replace trigger bytestream_streams_log_killed
  after delete on bytestream_streams
  referencing old table as gone
  for each statement when (current_setting('rowgram.is_accounting', true) is distinct from 'on')
  execute function rowgram_log_killed();

create or replace trigger bytestream_streams_notify_table_change
  after truncate or update of rate_limit on bytestream_streams
  for each statement execute function notify_table_change();

create or replace trigger bytestream_streamhosts_notify_table_change
  after insert or delete or truncate or update of
    proxy, enabled, bind_address, port, public_host, public_port, max_pending, max_pending_per_address,
    handshake_timeout_s, pending_timeout_s, idle_timeout_s
  on bytestream_streamhosts
  for each statement execute function notify_table_change();

create or replace trigger bytestream_acl_notify_table_change
  after insert or update or delete or truncate on bytestream_acl
  for each statement execute function notify_table_change();

create or replace trigger bytestream_limits_notify_table_change
  after insert or update or delete or truncate on bytestream_limits
  for each statement execute function notify_table_change();
