-- Control tables are few and change seldom: each change says plainly which table it touched.

create or replace function notify_table_change() returns trigger language plpgsql as $$
begin
  perform pg_notify('notify_table_change', tg_table_name);
  return null;
end
$$;

-- Not for the columns that the daemon writes: it would wake itself.
create or replace trigger xmpp_accounts_notify_table_change
  after insert or delete or truncate or update of
    enabled, acc_jid, acc_pass, srv_host, srv_port, is_default, resource, tls, tls_ca,
    priority, show, status, subscription_policy, send_receipts, max_stanza_bytes,
    on_uncertain, room_invite_policy, notify_nodes, max_attachment_bytes
  on xmpp_accounts
  for each statement execute function notify_table_change();

create or replace trigger xmpp_components_notify_table_change
  after insert or delete or truncate or update of
    domain, gateway, enabled, srv_host, srv_port, secret, tls, tls_ca
  on xmpp_components
  for each statement execute function notify_table_change();

create or replace trigger xmpp_contacts_notify_table_change
  after insert or delete or truncate or update of
    account_id, jid, name, groups, subscribe, allow
  on xmpp_contacts
  for each statement execute function notify_table_change();

create or replace trigger xmpp_subscription_requests_notify_table_change
  after update of
    answer
  on xmpp_subscription_requests
  for each statement execute function notify_table_change();

create or replace trigger xmpp_directed_presences_notify_table_change
  after insert or delete or truncate or update of
    account_id, jid, show, status
  on xmpp_directed_presences
  for each statement execute function notify_table_change();

-- What is published is no longer what the row wants.
create or replace function xmpp_await_publication() returns trigger language plpgsql as $$
begin
  new.state := 'pending';
  new.state_info := null;
  new.state_changed_at := now();
  return new;
end
$$;

create or replace trigger xmpp_profiles_await_publication
  before update of account_id, full_name, nickname, email, url, description, avatar on xmpp_profiles
  for each row when (
    (new.account_id, new.full_name, new.nickname, new.email, new.url, new.description, new.avatar)
    is distinct from
    (old.account_id, old.full_name, old.nickname, old.email, old.url, old.description, old.avatar))
  execute function xmpp_await_publication();

create or replace trigger xmpp_profiles_notify_table_change
  after insert or update of
    account_id, full_name, nickname, email, url, description, avatar
  on xmpp_profiles
  for each statement execute function notify_table_change();

create or replace trigger xmpp_contact_profiles_notify_table_change
  after insert or update of
    account_id, jid
  on xmpp_contact_profiles
  for each statement execute function notify_table_change();

-- Of the states only the one that people set.
create or replace trigger xmpp_contact_profiles_notify_pending
  after update of state on xmpp_contact_profiles
  for each row when (new.state = 'pending' and old.state <> 'pending')
  execute function notify_table_change();

create or replace trigger xmpp_rooms_notify_table_change
  after insert or delete or truncate or update of
    account_id, room_jid, nick, password, enabled
  on xmpp_rooms
  for each statement execute function notify_table_change();

create or replace trigger xmpp_room_invites_notify_table_change
  after update of
    answer
  on xmpp_room_invites
  for each statement execute function notify_table_change();

create or replace trigger xmpp_iq_handlers_notify_table_change
  after insert or delete or truncate or update of
    account_id, namespace, function, timeout_s
  on xmpp_iq_handlers
  for each statement execute function notify_table_change();

create or replace trigger xmpp_iq_requests_notify_table_change
  after update of
    response, error_condition
  on xmpp_iq_requests
  for each statement execute function notify_table_change();

create or replace trigger xmpp_commands_notify_table_change
  after insert or delete or truncate or update of
    account_id, node, name, function, allowed
  on xmpp_commands
  for each statement execute function notify_table_change();
