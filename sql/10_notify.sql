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
    priority, show, status, subscription_policy, send_receipts, max_stanza_bytes
  on xmpp_accounts
  for each statement execute function notify_table_change();
