-- What people want of the XMPP tables is acted on again when they say it again; and what they call.

create or replace function rowgram_renew_room() returns trigger language plpgsql as $$
begin
  new.state := 'pending';
  new.state_info := null;
  new.next_try_at := null;
  return new;
end
$$;

-- Of the columns that people write alone: the daemon says how it went in the others.
create or replace trigger xmpp_rooms_renew_room
  before update of account_id, room_jid, nick, password, enabled on xmpp_rooms
  for each row execute function rowgram_renew_room();

create or replace function rowgram_renew_answer() returns trigger language plpgsql as $$
begin
  new.answered_at := null;
  return new;
end
$$;

create or replace trigger xmpp_room_invites_renew_answer
  before update of answer on xmpp_room_invites
  for each row execute function rowgram_renew_answer();

create or replace function xmpp_escape(text text) returns text language sql immutable strict parallel safe
  set search_path from current as $$
  select replace(replace(replace(replace(replace(replace(replace(replace($1,
    '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '''', '&apos;'), '"', '&quot;'),
    e'\t', '&#9;'), e'\n', '&#10;'), e'\r', '&#13;')
$$;

create or replace function xmpp_invite(room_id bigint, jid text, reason text default null)
  returns bigint language plpgsql set search_path from current as $$
declare
  row_id bigint;
begin
  insert into xmpp_tx_queue (account_id, message_stanza)
  select r.account_id, format(
    '<message to=''%s''><x xmlns=''http://jabber.org/protocol/muc#user''><invite to=''%s''>%s</invite></x></message>',
    xmpp_escape(r.room_jid), xmpp_escape(jid), '<reason>' || xmpp_escape(reason) || '</reason>')
  from xmpp_rooms r where r.id = room_id
  returning id into row_id;
  if row_id is null then
    raise exception 'there is no room % in xmpp_rooms', room_id using errcode = 'no_data_found';
  end if;
  return row_id;
end
$$;

create or replace function xmpp_publish(
  node text, item text, item_id text default 'current', account_id bigint default null, service text default null
) returns bigint language sql set search_path from current as $$
  insert into xmpp_iq_queue (account_id, iq_to, iq_type, payload)
  values (xmpp_publish.account_id, service, 'set', format(
    '<pubsub xmlns=''http://jabber.org/protocol/pubsub''><publish node=''%s''><item%s>%s</item></publish></pubsub>',
    xmpp_escape(node), ' id=''' || xmpp_escape(item_id) || '''', item))
  returning id
$$;

create or replace function xmpp_retract_item(
  node text, item_id text default 'current', account_id bigint default null, service text default null
) returns bigint language sql set search_path from current as $$
  insert into xmpp_iq_queue (account_id, iq_to, iq_type, payload)
  values (xmpp_retract_item.account_id, service, 'set', format(
    '<pubsub xmlns=''http://jabber.org/protocol/pubsub''><retract node=''%s'' notify=''true''><item id=''%s''/></retract></pubsub>',
    xmpp_escape(node), xmpp_escape(item_id)))
  returning id
$$;

-- Without a search_path of its own: the name is looked for in that of the user, and written down in full.
create or replace function rowgram_check_function() returns trigger language plpgsql as $$
declare
  signature constant text := format('%s(%s)', new.function, tg_argv[0]);
  target record;
begin
  select p.prosecdef, p.prokind, p.proretset, p.prorettype::regtype::text as returned,
      format('%I.%I', n.nspname, p.proname) as name
    into target
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.oid = to_regprocedure(signature);
  if target.name is null then
    raise exception 'there is no function %', signature
      using errcode = 'undefined_function', hint = 'create it first; the row names it without arguments';
  elsif target.prokind <> 'f' or target.proretset or target.returned <> tg_argv[1] then
    raise exception 'function % does not return one %', signature, tg_argv[1]
      using errcode = 'invalid_function_definition';
  elsif not target.prosecdef then
    raise exception 'function % is not SECURITY DEFINER', signature
      using errcode = 'invalid_function_definition',
        hint = 'it is called by the daemon, which has no rights on your tables';
  end if;
  new.function := target.name;
  return new;
end
$$;

create or replace trigger xmpp_iq_handlers_check_function
  before insert or update of function on xmpp_iq_handlers
  for each row when (new.function is not null)
  execute function rowgram_check_function('bigint, text, text, text', 'text');

create or replace trigger xmpp_commands_check_function
  before insert or update of function on xmpp_commands
  for each row
  execute function rowgram_check_function('bigint, text, jsonb', 'jsonb');

create or replace function rowgram_keep_answer() returns trigger language plpgsql as $$
begin
  raise exception 'request % is % already', old.id, old.state using errcode = 'check_violation';
end
$$;

create or replace trigger xmpp_iq_requests_keep_answer
  before update of response, error_condition, error_text on xmpp_iq_requests
  for each row when (old.state <> 'pending')
  execute function rowgram_keep_answer();

create or replace function rowgram_forget_answer() returns trigger language plpgsql as $$
begin
  new.response := null;
  new.error_type := null;
  new.error_condition := null;
  new.error_text := null;
  return new;
end
$$;

-- A request that is queued again has no answer yet.
create or replace trigger xmpp_iq_queue_forget_answer
  before update of state on xmpp_iq_queue
  for each row when (new.state = 'queued' and old.state <> 'queued')
  execute function rowgram_forget_answer();
