-- The roles that the grants speak of. Run before the migrations too, since a dump does not carry roles.
-- Without the right to make them they are left out, and with them the grants.

do $$
declare
  role_name text;
begin
  foreach role_name in array
    array['rowgram_owner', 'rowgram_daemon', 'rowgram_admin', 'rowgram_app', 'rowgram_viewer', 'openfire']
  loop
    if not exists (select from pg_roles where rolname = role_name) then
      begin
        execute format('create role %I nologin', role_name);
        -- Whoever is no superuser must be a member to hand the tables to the owner.
        execute format('grant %I to current_user', role_name);
      exception
        when duplicate_object or unique_violation then null;
        when insufficient_privilege then
          raise warning 'role % is missing and % may not create it: its grants are left out',
            role_name, current_user;
      end;
    end if;
  end loop;
end
$$;
