-- For an Openfire whose own tables are in our database. Written from properties.ts; a test holds them to each other.
-- Run it while Openfire is stopped, for it keeps what it has read; safe to run again.

insert into ofProperty (name, propValue) values
  ('provider.auth.className', 'org.jivesoftware.openfire.auth.JDBCAuthProvider'),
  ('provider.user.className', 'org.jivesoftware.openfire.user.JDBCUserProvider'),
  ('provider.group.className', 'org.jivesoftware.openfire.group.JDBCGroupProvider'),
  ('provider.admin.className', 'org.jivesoftware.openfire.admin.JDBCAdminProvider'),
  ('jdbcAuthProvider.useConnectionProvider', 'true'),
  ('jdbcUserProvider.useConnectionProvider', 'true'),
  ('jdbcGroupProvider.useConnectionProvider', 'true'),
  ('jdbcAdminProvider.useConnectionProvider', 'true'),
  ('jdbcAuthProvider.passwordType', 'md5'),
  ('jdbcAuthProvider.passwordSQL', 'select password from openfire_users_view where username = ? and password is not null'),
  ('jdbcAuthProvider.allowUpdate', 'true'),
  ('jdbcAuthProvider.setPasswordSQL', 'select openfire_set_password(?, ?)'),
  ('jdbcUserProvider.loadUserSQL', 'select name, email from openfire_users_view where username = ?'),
  ('jdbcUserProvider.userCountSQL', 'select count(*) from openfire_users_view'),
  ('jdbcUserProvider.allUsersSQL', 'select username from openfire_users_view order by username'),
  ('jdbcUserProvider.searchSQL', 'select username from openfire_search_view where'),
  ('jdbcUserProvider.usernameField', 'username'),
  ('jdbcUserProvider.nameField', 'name'),
  ('jdbcUserProvider.emailField', 'email'),
  ('jdbcGroupProvider.groupCountSQL', 'select count(*) from openfire_groups_view'),
  ('jdbcGroupProvider.allGroupsSQL', 'select group_name from openfire_groups_view order by group_name'),
  ('jdbcGroupProvider.userGroupsSQL', 'select group_name from openfire_group_members_view where username = ? order by group_name'),
  ('jdbcGroupProvider.descriptionSQL', 'select description from openfire_groups_view where group_name = ?'),
  ('jdbcGroupProvider.loadMembersSQL', 'select username from openfire_group_members_view where group_name = ? and not is_admin order by username'),
  ('jdbcGroupProvider.loadAdminsSQL', 'select username from openfire_group_members_view where group_name = ? and is_admin order by username'),
  ('jdbcAdminProvider.getAdminsSQL', 'select username from openfire_admins_view order by username'),
  ('xmpp.component.socket.active', 'true'),
  ('xmpp.component.socket.port', '5275'),
  ('xmpp.component.permission', 'whitelist')
on conflict (name) do update set propValue = excluded.propValue, encrypted = null, iv = null;
