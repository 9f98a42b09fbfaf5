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
      where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v')
        and c.relname ~ '^(rowgram|xmpp|bytestream|openfire)_' and c.relowner <> 'rowgram_owner'::regrole
    loop
      -- A view reads with the rights of its owner.
      execute format('alter table %s owner to rowgram_owner', object.name);
    end loop;
    for object in
      select p.oid::regprocedure as name from pg_proc p
      where p.pronamespace = current_schema()::regnamespace and p.proowner <> 'rowgram_owner'::regrole
        and (p.proname ~ '^(rowgram|xmpp|bytestream|openfire)_' or p.proname in ('notify_table_change', 'set_password'))
    loop
      execute format('alter function %s owner to rowgram_owner', object.name);
    end loop;
  end if;

  grant select, insert, update, delete on
    rowgram_daemons, rowgram_shards, rowgram_idempotency_keys, xmpp_accounts, xmpp_streams, xmpp_tx_queue,
    xmpp_rx_queue, xmpp_iq_queue, xmpp_archives, xmpp_chat_states, xmpp_contacts, xmpp_roster_items,
    xmpp_subscription_requests, xmpp_presences, xmpp_directed_presences, xmpp_profiles, xmpp_contact_profiles,
    xmpp_rooms, xmpp_room_occupants, xmpp_room_invites, xmpp_iq_requests, xmpp_pubsub_items to rowgram_daemon;
  grant select on xmpp_iq_handlers, xmpp_commands to rowgram_daemon;
  grant select on rowgram_settings, rowgram_migrations to rowgram_daemon;
  grant select, update (state, state_info, state_changed_at, next_try_at) on xmpp_components to rowgram_daemon;
  grant select on bytestream_streamhosts, bytestream_acl, bytestream_limits to rowgram_daemon;
  grant update (state, state_info, state_changed_at) on bytestream_streamhosts to rowgram_daemon;
  grant select, insert, update, delete on bytestream_streams, bytestream_usage, bytestream_log to rowgram_daemon;
  grant usage on sequence xmpp_tx_queue_id_seq, xmpp_rx_queue_id_seq, xmpp_iq_queue_id_seq to rowgram_daemon;

  grant select on rowgram_daemons, rowgram_shards, xmpp_tx_queue, xmpp_rx_queue, xmpp_iq_queue,
    xmpp_archives, xmpp_chat_states, xmpp_contacts, xmpp_roster_items, xmpp_subscription_requests, xmpp_presences,
    xmpp_directed_presences, xmpp_profiles, xmpp_contact_profiles, xmpp_room_occupants, xmpp_iq_handlers,
    xmpp_iq_requests, xmpp_commands, xmpp_pubsub_items to rowgram_admin, rowgram_viewer;
  grant select (id, queue_keep, received_keep, users_domain) on rowgram_settings to rowgram_admin, rowgram_viewer;
  grant update (queue_keep, received_keep, users_domain) on rowgram_settings to rowgram_admin;
  grant select (id, enabled, acc_jid, srv_host, srv_port, is_default, resource, tls, tls_ca, priority, show,
    status, subscription_policy, send_receipts, max_stanza_bytes, granted_to, on_uncertain,
    room_invite_policy, notify_nodes, max_attachment_bytes, spoofed_count, state, state_info, state_changed_at,
    next_try_at, full_jid) on xmpp_accounts to rowgram_admin, rowgram_viewer;
  grant insert (enabled, acc_jid, acc_pass, srv_host, srv_port, is_default, resource, tls, tls_ca, priority,
    show, status, subscription_policy, send_receipts, max_stanza_bytes, granted_to, on_uncertain,
    room_invite_policy, notify_nodes, max_attachment_bytes) on xmpp_accounts to rowgram_admin;
  grant update (enabled, acc_jid, acc_pass, srv_host, srv_port, is_default, resource, tls, tls_ca, priority,
    show, status, subscription_policy, send_receipts, max_stanza_bytes, granted_to, on_uncertain,
    room_invite_policy, notify_nodes, max_attachment_bytes) on xmpp_accounts to rowgram_admin;
  grant delete on xmpp_accounts to rowgram_admin;
  grant select (id, domain, gateway, enabled, srv_host, srv_port, tls, tls_ca, state, state_info,
    state_changed_at, next_try_at) on xmpp_components to rowgram_admin, rowgram_viewer;
  grant insert (domain, gateway, enabled, srv_host, srv_port, secret, tls, tls_ca),
    update (domain, gateway, enabled, srv_host, srv_port, secret, tls, tls_ca), delete
    on xmpp_components to rowgram_admin;
  grant select on bytestream_streamhosts, bytestream_acl, bytestream_limits, bytestream_streams,
    bytestream_usage, bytestream_log to rowgram_admin, rowgram_viewer;
  grant insert (proxy, enabled, bind_address, port, public_host, public_port, max_pending,
    max_pending_per_address, handshake_timeout_s, pending_timeout_s, idle_timeout_s),
    update (proxy, enabled, bind_address, port, public_host, public_port, max_pending,
    max_pending_per_address, handshake_timeout_s, pending_timeout_s, idle_timeout_s), delete
    on bytestream_streamhosts to rowgram_admin;
  grant insert, update, delete on bytestream_acl, bytestream_limits to rowgram_admin;
  grant update (rate_limit), delete on bytestream_streams to rowgram_admin;
  grant delete on bytestream_usage, bytestream_log to rowgram_admin;
  grant delete on xmpp_rx_queue to rowgram_admin;
  grant delete on xmpp_archives to rowgram_admin;

  grant insert (message_stanza, message_to, message_subject, message_body, account_id, message_type, thread,
    lang, request_receipt, send_after, expires_at, priority, idempotency_key, message_html, oob_url, attachment,
    attachment_path, attachment_name, attachment_type, replaces_id, retracts_id, reaction_to, reactions,
    reply_to_id, reply_to_jid, displayed_id, chat_state, hints, encryption)
    on xmpp_tx_queue to rowgram_app, rowgram_admin;
  grant insert (account_id, iq_to, iq_type, payload, timeout_s, send_after, expires_at, priority, idempotency_key)
    on xmpp_iq_queue to rowgram_app, rowgram_admin;
  grant select on xmpp_tx_queue, xmpp_rx_queue, xmpp_iq_queue to rowgram_app;
  grant update (state) on xmpp_tx_queue, xmpp_iq_queue to rowgram_app, rowgram_admin;
  grant usage on sequence xmpp_tx_queue_id_seq, xmpp_iq_queue_id_seq to rowgram_app, rowgram_admin;

  -- What an application may do for the accounts that are granted to it; see the policies below.
  grant select (id, enabled, acc_jid, is_default, resource, priority, show, status, subscription_policy,
    send_receipts, max_stanza_bytes, on_uncertain, room_invite_policy, notify_nodes, max_attachment_bytes,
    state, state_info, state_changed_at, next_try_at, full_jid) on xmpp_accounts to rowgram_app;
  grant update (priority, show, status, notify_nodes) on xmpp_accounts to rowgram_app;
  grant select on xmpp_chat_states, xmpp_contacts, xmpp_subscription_requests, xmpp_presences,
    xmpp_directed_presences, xmpp_profiles, xmpp_contact_profiles, xmpp_room_occupants, xmpp_iq_requests,
    xmpp_pubsub_items to rowgram_app;
  grant select (id, account_id, room_jid, nick, enabled, state, state_info, state_changed_at, next_try_at,
    own_nick, role, affiliation, occupants, subject) on xmpp_rooms to rowgram_app, rowgram_admin, rowgram_viewer;
  grant select (id, account_id, room_jid, from_jid, reason, is_direct, received_at, answer, answered_at)
    on xmpp_room_invites to rowgram_app, rowgram_admin, rowgram_viewer;
  grant insert (account_id, jid, name, groups, subscribe, allow), update (jid, name, groups, subscribe, allow), delete
    on xmpp_contacts to rowgram_app, rowgram_admin;
  grant update (answer) on xmpp_subscription_requests, xmpp_room_invites to rowgram_app, rowgram_admin;
  grant insert (account_id, jid, show, status), update (show, status), delete
    on xmpp_directed_presences to rowgram_app, rowgram_admin;
  grant insert (account_id, full_name, nickname, email, url, description, avatar),
    update (full_name, nickname, email, url, description, avatar), delete on xmpp_profiles to rowgram_app, rowgram_admin;
  grant insert (account_id, jid), update (state), delete on xmpp_contact_profiles to rowgram_app, rowgram_admin;
  grant insert (account_id, room_jid, nick, password, enabled), update (nick, password, enabled), delete
    on xmpp_rooms to rowgram_app, rowgram_admin;
  grant update (response, error_condition, error_text) on xmpp_iq_requests to rowgram_app, rowgram_admin;
  -- The functions that these name are run by the daemon.
  grant insert (account_id, namespace, function, timeout_s), update (account_id, namespace, function, timeout_s), delete
    on xmpp_iq_handlers to rowgram_admin;
  grant insert (account_id, node, name, function, allowed), update (account_id, node, name, function, allowed), delete
    on xmpp_commands to rowgram_admin;

  -- Users: what a password is proved by is written, and read by nobody but the servers.
  grant select, insert, update on rowgram_user_presences to rowgram_daemon;
  grant select (login, domain) on rowgram_users to rowgram_daemon;
  grant select on rowgram_user_presences to rowgram_admin, rowgram_viewer;
  grant select (login, domain, enabled, name, email, is_admin, password_set_at) on rowgram_users
    to rowgram_admin, rowgram_viewer;
  grant insert (login, domain, enabled, name, email, is_admin, scram_sha1, scram_sha256, bcrypt, digest_ha1,
    digest_ha1b, pass_md5, plain), update (domain, enabled, name, email, is_admin), delete
    on rowgram_users to rowgram_admin;
  grant select (login, enabled, name, email, available, available_timestamp) on openfire_users
    to rowgram_admin, rowgram_viewer;
  grant insert (login, pass, enabled, name, email), update (pass, enabled, name, email), delete on openfire_users
    to rowgram_admin;
  grant select on rowgram_groups, rowgram_group_members to rowgram_admin, rowgram_viewer;
  grant insert, update, delete on rowgram_groups, rowgram_group_members to rowgram_admin;
  revoke all on function set_password(text, text, text, text[]), openfire_set_password(text, text) from public;
  grant execute on function set_password(text, text, text, text[]) to rowgram_admin;

  -- A trigger fires without this right. With it, one on a table of one's own could use up another's keys.
  revoke all on function rowgram_keep_idempotency_key(), rowgram_log_killed() from public;
  revoke all on function xmpp_account(text), xmpp_escape(text), xmpp_invite(bigint, text, text) from public;
  grant execute on function xmpp_escape(text), xmpp_invite(bigint, text, text) to rowgram_app, rowgram_admin;
  revoke all on function xmpp_default_account(), xmpp_granted_accounts(name) from public;
  grant execute on function xmpp_default_account(), xmpp_granted_accounts(name)
    to rowgram_daemon, rowgram_admin, rowgram_app, rowgram_viewer;
  grant execute on function xmpp_account(text) to rowgram_daemon, rowgram_admin, rowgram_app, rowgram_viewer;
  revoke all on function xmpp_escape(text), xmpp_publish(text, text, text, bigint, text),
    xmpp_retract_item(text, text, bigint, text) from public;
  grant execute on function xmpp_escape(text), xmpp_publish(text, text, text, bigint, text),
    xmpp_retract_item(text, text, bigint, text) to rowgram_app, rowgram_admin;
  revoke all on function rowgram_create_partitions(integer), rowgram_drop_partitions() from public;
  grant execute on function rowgram_create_partitions(integer), rowgram_drop_partitions()
    to rowgram_daemon, rowgram_admin;
end
$$;

-- What Openfire reads. Its role may be older than ours: that of its own tables on the same server.
do $$
begin
  if not exists (select from pg_roles where rolname = 'openfire') then
    return;
  end if;
  execute format('grant usage on schema %I to openfire', current_schema());
  grant select on openfire_users_view, openfire_search_view, openfire_groups_view, openfire_group_members_view,
    openfire_admins_view to openfire;
  grant execute on function openfire_set_password(text, text) to openfire;
end
$$;

-- Applications see the rows that they inserted, and what belongs to the accounts that are granted to them;
-- the daemon and those who watch see all.
do $$
declare
  name text;
  granted constant text := 'any (array(select xmpp_granted_accounts(current_user)))';
begin
  foreach name in array array['xmpp_accounts', 'xmpp_tx_queue', 'xmpp_rx_queue', 'xmpp_iq_queue', 'xmpp_chat_states',
    'xmpp_contacts', 'xmpp_subscription_requests', 'xmpp_presences', 'xmpp_directed_presences', 'xmpp_profiles',
    'xmpp_contact_profiles', 'xmpp_rooms', 'xmpp_room_occupants', 'xmpp_room_invites', 'xmpp_iq_requests',
    'xmpp_pubsub_items']
  loop
    execute format('alter table %I enable row level security', name);
    continue when not exists (select from pg_roles where rolname = 'rowgram_owner');
    execute format('drop policy if exists %I on %I', name || '_all_rows', name);
    execute format('create policy %I on %I to rowgram_daemon, rowgram_admin, rowgram_viewer using (true)',
      name || '_all_rows', name);
    execute format('drop policy if exists %I on %I', name || '_own_rows', name);
    execute format('create policy %I on %I to rowgram_app using (%s)', name || '_own_rows', name,
      case
        when name = 'xmpp_accounts' then 'id = ' || granted
        when name in ('xmpp_tx_queue', 'xmpp_iq_queue') then 'created_by = current_user'
        when name = 'xmpp_room_occupants' then 'room_id in (select r.id from xmpp_rooms r)'
        else 'account_id = ' || granted
      end
      || case
        when name in ('xmpp_tx_queue', 'xmpp_iq_queue') then format(') with check (created_by = current_user and (
          account_id = %1$s or (account_id is null and (xmpp_default_account() is null or xmpp_default_account() = %1$s)))', granted)
        else ''
      end);
  end loop;
end
$$;
