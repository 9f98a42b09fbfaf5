-- What people change is to be dealt with anew. The daemon's own changes of a contact state their time.

create or replace function rowgram_mark_contact_pending() returns trigger language plpgsql as $$
begin
  new.state := 'pending';
  new.state_info := null;
  new.state_changed_at := clock_timestamp();
  new.refused_at := null;
  if new.jid <> old.jid or new.account_id <> old.account_id then
    new.subscription := 'none';
    new.ask := null;
  end if;
  return new;
end
$$;

create or replace trigger xmpp_contacts_mark_contact_pending
  before update of account_id, jid, name, groups, subscribe, allow on xmpp_contacts
  for each row when (new.state_changed_at = old.state_changed_at)
  execute function rowgram_mark_contact_pending();

create or replace function rowgram_mark_presence_pending() returns trigger language plpgsql as $$
begin
  new.state := 'pending';
  new.state_info := null;
  new.state_changed_at := clock_timestamp();
  return new;
end
$$;

create or replace trigger xmpp_directed_presences_mark_presence_pending
  before update of account_id, jid, show, status on xmpp_directed_presences
  for each row execute function rowgram_mark_presence_pending();
