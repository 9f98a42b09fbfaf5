-- Who may do what. Nobody but the daemon reads a password; partitions are reached through their parent.

do $$
declare
  object record;
begin
  if not exists (select from pg_roles where rolname = 'rowgram_owner') then
    return;
  end if;
  execute format('grant usage on schema %I to rowgram_daemon, rowgram_admin, rowgram_app, rowgram_viewer',
    current_schema());
  if not pg_has_role('rowgram_owner', 'member') then
    -- Another's database on this server made the roles.
    raise warning '% is not a member of rowgram_owner: it stays the owner of tables and functions', current_user;
  else
    -- Definer functions run as the owner: it has no login and no other right. Creating partitions needs this one.
    execute format('grant usage, create on schema %I to rowgram_owner', current_schema());
    for object in
      select c.oid::regclass as name from pg_class c
      where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
        and c.relname ~ '^(rowgram|xmpp)_' and c.relowner <> 'rowgram_owner'::regrole
    loop
      execute format('alter table %s owner to rowgram_owner', object.name);
    end loop;
    for object in
      select p.oid::regprocedure as name from pg_proc p
      where p.pronamespace = current_schema()::regnamespace and p.proowner <> 'rowgram_owner'::regrole
        and (p.proname ~ '^(rowgram|xmpp)_' or p.proname = 'notify_table_change')
    loop
      execute format('alter function %s owner to rowgram_owner', object.name);
    end loop;
  end if;

  grant select, insert, update, delete on
    rowgram_daemons, rowgram_shards, rowgram_idempotency_keys, xmpp_accounts, xmpp_streams,
    xmpp_tx_queue, xmpp_rx_queue to rowgram_daemon;
  grant select on rowgram_settings, rowgram_migrations to rowgram_daemon;
  grant usage on sequence xmpp_tx_queue_id_seq, xmpp_rx_queue_id_seq to rowgram_daemon;

  grant select on rowgram_daemons, rowgram_shards, xmpp_tx_queue, xmpp_rx_queue to rowgram_admin, rowgram_viewer;
  grant select (id, queue_keep, received_keep) on rowgram_settings to rowgram_admin, rowgram_viewer;
  grant update (queue_keep, received_keep) on rowgram_settings to rowgram_admin;
  grant select (id, enabled, acc_jid, srv_host, srv_port, is_default, resource, tls, tls_ca, priority, show,
    status, subscription_policy, send_receipts, max_stanza_bytes, state, state_info, state_changed_at,
    next_try_at, full_jid) on xmpp_accounts to rowgram_admin, rowgram_viewer;
  grant insert (enabled, acc_jid, acc_pass, srv_host, srv_port, is_default, resource, tls, tls_ca, priority,
    show, status, subscription_policy, send_receipts, max_stanza_bytes) on xmpp_accounts to rowgram_admin;
  grant update (enabled, acc_jid, acc_pass, srv_host, srv_port, is_default, resource, tls, tls_ca, priority,
    show, status, subscription_policy, send_receipts, max_stanza_bytes) on xmpp_accounts to rowgram_admin;
  grant delete on xmpp_accounts to rowgram_admin;
  grant delete on xmpp_rx_queue to rowgram_admin;

  grant insert (message_stanza, message_to, message_subject, message_body, account_id, message_type, thread,
    lang, request_receipt, send_after, expires_at, priority, idempotency_key)
    on xmpp_tx_queue to rowgram_app, rowgram_admin;
  grant select on xmpp_tx_queue, xmpp_rx_queue to rowgram_app;
  grant update (state) on xmpp_tx_queue to rowgram_app, rowgram_admin;
  grant usage on sequence xmpp_tx_queue_id_seq to rowgram_app, rowgram_admin;

  -- A trigger fires without this right. With it, one on a table of one's own could use up another's keys.
  revoke all on function rowgram_keep_idempotency_key() from public;
  revoke all on function xmpp_account(text) from public;
  grant execute on function xmpp_account(text) to rowgram_daemon, rowgram_admin, rowgram_app, rowgram_viewer;
  revoke all on function rowgram_create_partitions(integer), rowgram_drop_partitions() from public;
  grant execute on function rowgram_create_partitions(integer), rowgram_drop_partitions()
    to rowgram_daemon, rowgram_admin;
end
$$;

-- Applications see the rows that they inserted; the daemon and those who watch see all.
alter table xmpp_tx_queue enable row level security;
do $$
begin
  if not exists (select from pg_roles where rolname = 'rowgram_owner') then
    return;
  end if;
  drop policy if exists xmpp_tx_queue_own_rows on xmpp_tx_queue;
  create policy xmpp_tx_queue_own_rows on xmpp_tx_queue to rowgram_app using (created_by = current_user);
  drop policy if exists xmpp_tx_queue_all_rows on xmpp_tx_queue;
  create policy xmpp_tx_queue_all_rows on xmpp_tx_queue
    to rowgram_daemon, rowgram_admin, rowgram_viewer using (true);
end
$$;
