-- What an insert into a queue sets off, and what its users may do with a row. A queue's shard is
-- its link's id modulo 64; shard 64 holds the rows that name no link and go to the default one.

create or replace function rowgram_ring() returns trigger language plpgsql as $$
begin
  perform pg_notify(tg_argv[0], coalesce(new.account_id & 63, 64)::text);
  return null;
end
$$;

-- A producer holds the shared lock until its row is visible; failing to get it means that the reader
-- sleeps. So a row is either seen by the reader's last fetch before sleep, or it rings.
create or replace trigger xmpp_tx_queue_ring
  after insert on xmpp_tx_queue_hot
  for each row
  when (not pg_try_advisory_xact_lock_shared(
    'xmpp_tx_queue'::regclass::oid::integer, coalesce(new.account_id & 63, 64)::integer))
  execute function rowgram_ring('xmpp_tx_queue');

-- Definer: producers cannot see each other's keys.
create or replace function rowgram_keep_idempotency_key() returns trigger language plpgsql
  security definer set search_path from current as $$
begin
  insert into rowgram_idempotency_keys as k (queue, created_by, idempotency_key, row_id)
  values (tg_argv[0], new.created_by, new.idempotency_key, new.id)
  on conflict (queue, created_by, idempotency_key)
    do update set row_id = k.row_id where k.row_id = excluded.row_id;
  -- The second row of a key is not inserted; a settled row that is queued again is let through.
  return case when found then new end;
end
$$;

create or replace trigger xmpp_tx_queue_keep_idempotency_key
  before insert on xmpp_tx_queue_hot
  for each row when (new.idempotency_key is not null)
  execute function rowgram_keep_idempotency_key('xmpp_tx_queue');

-- The path is for the table's name, which may be in a schema that the user's own path does not have.
create or replace function rowgram_change_state() returns trigger language plpgsql
  set search_path from current as $$
begin
  if new.state = 'cancelled' and old.state = 'queued' then
    new.settled := true;
    -- The reader may hold the row already.
    perform pg_notify('notify_table_change', tg_argv[0]);
  elsif new.state = 'queued' and old.state in ('failed', 'expired', 'cancelled') then
    new.settled := false;
    new.txid := pg_current_xact_id();
    new.attempts := 0;
    new.next_try_at := null;
    new.submission_timestamp := null;
    new.submission_failed := false;
    new.submission_info := null;
  elsif new.state in ('cancelled', 'queued')
    or not has_column_privilege(tg_argv[0], 'settled', 'update') then
    raise exception 'row % is %, it cannot become %', old.id, old.state, new.state
      using errcode = 'check_violation',
        hint = 'a queued row can be cancelled; a failed, expired or cancelled row can be queued again';
  end if;
  return new;
end
$$;

-- Not for the daemon's settling of rows, which moves them and is the hot path.
create or replace trigger xmpp_tx_queue_change_state
  before update of state on xmpp_tx_queue
  for each row when (new.state is distinct from old.state and new.settled = old.settled)
  execute function rowgram_change_state('xmpp_tx_queue');

-- The same for requests.
create or replace trigger xmpp_iq_queue_ring
  after insert on xmpp_iq_queue_hot
  for each row
  when (not pg_try_advisory_xact_lock_shared(
    'xmpp_iq_queue'::regclass::oid::integer, coalesce(new.account_id & 63, 64)::integer))
  execute function rowgram_ring('xmpp_iq_queue');
create or replace trigger xmpp_iq_queue_keep_idempotency_key
  before insert on xmpp_iq_queue_hot
  for each row when (new.idempotency_key is not null)
  execute function rowgram_keep_idempotency_key('xmpp_iq_queue');
create or replace trigger xmpp_iq_queue_change_state
  before update of state on xmpp_iq_queue
  for each row when (new.state is distinct from old.state and new.settled = old.settled)
  execute function rowgram_change_state('xmpp_iq_queue');

create or replace function rowgram_wait(
  id bigint, timeout interval default '5 s', queue regclass default 'xmpp_tx_queue'
) returns rowgram_state language plpgsql set search_path from current as $$
declare
  give_up_at constant timestamptz := clock_timestamp() + timeout;
  pause double precision := 0.002;
  row_state rowgram_state;
  inserted_here boolean;
begin
  loop
    execute format('select q.state, q.txid = pg_current_xact_id_if_assigned() from %s q where q.id = $1', queue)
      into row_state, inserted_here using id;
    if row_state is null then
      raise exception 'there is no row % in %', id, queue using errcode = 'no_data_found';
    elsif inserted_here then
      raise exception 'row % is not committed yet, so nobody else can see it', id
        using errcode = 'object_not_in_prerequisite_state', hint = 'commit first, then wait';
    end if;
    exit when row_state not in ('queued', 'submitting') or clock_timestamp() >= give_up_at;
    perform pg_sleep(least(pause, extract(epoch from give_up_at - clock_timestamp())));
    pause := least(pause * 1.5, 0.1);
  end loop;
  return row_state;
end
$$;

-- Definer: a producer may name an account it cannot read.
create or replace function xmpp_account(jid text) returns bigint language sql stable
  security definer set search_path from current as $$
  select a.id from xmpp_accounts a where lower(a.acc_jid) = lower(jid) order by a.enabled desc, a.id limit 1
$$;

-- Definer: an application does not see the accounts that are not granted to it.
create or replace function xmpp_default_account() returns bigint language sql stable
  security definer set search_path from current as $$
  select coalesce(
    (select a.id from xmpp_accounts a where a.is_default),
    (select a.id from xmpp_accounts a where a.enabled order by a.id limit 1))
$$;

create or replace function xmpp_granted_accounts(role name) returns setof bigint language sql stable
  security definer set search_path from current as $$
  select a.id from xmpp_accounts a
  where exists (
    select from pg_roles r where r.rolname = any(a.granted_to) and pg_has_role(role, r.oid, 'member'))
$$;
