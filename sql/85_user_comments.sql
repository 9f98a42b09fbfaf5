-- What \d+ tells of users; the rest is in 80_comments.sql.

comment on table rowgram_users is
  'Desired: the users of Openfire, Prosody, ejabberd and Kamailio, one truth for all; call set_password() to make one or to change a password. openfire_users is a view of it, and each server has views of its own. A password is proved by verifiers; servers use those that they know.';
comment on column rowgram_users.login is 'The part of the JID before the @, in lower case.';
comment on column rowgram_users.domain is 'The part after it; users_domain of rowgram_settings where none is given.';
comment on column rowgram_users.enabled is 'Whether the user may log in.';
comment on column rowgram_users.name is 'Name for people.';
comment on column rowgram_users.email is 'Mail address.';
comment on column rowgram_users.is_admin is 'Whether the user may administer the server; read by Openfire.';
comment on column rowgram_users.scram_sha1 is
  'SCRAM-SHA-1$iterations:salt$StoredKey:ServerKey (RFC 5803), for Prosody and ejabberd. The salt is ASCII text.';
comment on column rowgram_users.scram_sha256 is 'The same of SCRAM-SHA-256 (RFC 7677).';
comment on column rowgram_users.bcrypt is 'bcrypt of the password, for Openfire. It sees the first 72 bytes.';
comment on column rowgram_users.digest_ha1 is
  'MD5 of login:domain:password in hex (RFC 7616 §3.4.2), for Kamailio. Goes when the domain changes.';
comment on column rowgram_users.digest_ha1b is 'MD5 of login@domain:domain:password in hex, for clients whose user name has the domain.';
comment on column rowgram_users.pass_md5 is
  'MD5 of the password in hex, for Openfire. Changed alone it is a new password, and the other verifiers go.';
comment on column rowgram_users.plain is
  'The password itself, for servers that can use nothing else; set_password() leaves it empty unless told.';
comment on column rowgram_users.password_set_at is 'When the password was changed last.';

comment on view openfire_users is
  'Desired: the users of Openfire with the columns that jabclnd had: rows of rowgram_users in users_domain. INSERT, UPDATE and DELETE are theirs.';
comment on column openfire_users.login is 'The part of the JID before the @, in lower case.';
comment on column openfire_users.pass is 'MD5 of the password in hex, as md5() gives it.';
comment on column openfire_users.enabled is 'Whether the user may log in.';
comment on column openfire_users.name is 'Name for people.';
comment on column openfire_users.email is 'Mail address.';
comment on column openfire_users.available is
  'Observed: whether an enabled account on the same server sees the user online; it must be a contact of the user.';
comment on column openfire_users.available_timestamp is 'Observed: since when; NULL if it was never seen to change.';

comment on view openfire_users_view is
  'What Openfire reads: enabled users with a password, and the enabled accounts of the same domain, which win.';
comment on column openfire_users_view.username is 'The part of the JID before the @.';
comment on column openfire_users_view.password is 'MD5 of the password in hex; NULL if there is only a bcrypt.';
comment on column openfire_users_view.name is 'Name; of an account that of its profile.';
comment on column openfire_users_view.email is 'Mail address; of an account that of its profile.';
comment on column openfire_users_view.bcrypt is 'bcrypt of the password; NULL if there is only an MD5.';

comment on view openfire_accounts_view is
  'For openfire_users_view: the accounts that are users of Openfire too. For nobody else: it has passwords.';
comment on column openfire_accounts_view.username is 'The part of the JID before the @.';
comment on column openfire_accounts_view.password is 'Password.';
comment on column openfire_accounts_view.name is 'Name in the profile.';
comment on column openfire_accounts_view.email is 'Mail address in the profile.';
comment on column openfire_accounts_view.id is 'Id of the account.';
comment on column openfire_accounts_view.is_default is 'Whether it is the default account.';

comment on view openfire_search_view is 'What Openfire searches: LIKE does not mind the case here.';
comment on column openfire_search_view.username is 'As in openfire_users_view.';
comment on column openfire_search_view.name is 'As in openfire_users_view.';
comment on column openfire_search_view.email is 'As in openfire_users_view.';

comment on view openfire_groups_view is 'What Openfire reads: the groups of users_domain.';
comment on column openfire_groups_view.group_name is 'Name.';
comment on column openfire_groups_view.description is 'Description.';

comment on view openfire_group_members_view is 'What Openfire reads: the members of its groups that may log in.';
comment on column openfire_group_members_view.group_name is 'The group.';
comment on column openfire_group_members_view.username is 'The member.';
comment on column openfire_group_members_view.is_admin is 'Whether the member administers the group.';

comment on view openfire_admins_view is 'What Openfire reads: who may administer it.';
comment on column openfire_admins_view.username is 'The part of the JID before the @.';

comment on table rowgram_groups is 'Desired: groups of users; Openfire can share them as rosters.';
comment on column rowgram_groups.domain is 'Domain of its users; users_domain of rowgram_settings where none is given.';
comment on column rowgram_groups.name is 'Name, unique in its domain.';
comment on column rowgram_groups.description is 'Description.';

comment on table rowgram_group_members is 'Desired: who is in which group: users, or accounts of the same domain.';
comment on column rowgram_group_members.domain is 'Domain of the group and of its member.';
comment on column rowgram_group_members.group_name is 'The group.';
comment on column rowgram_group_members.login is 'The member: login of a user, or the part of an account''s JID before the @.';
comment on column rowgram_group_members.is_admin is 'Whether the member administers the group.';

comment on table rowgram_user_presences is
  'Observed: the last change of presence of a user, as an account on the same server saw it. openfire_users shows it.';
comment on column rowgram_user_presences.account_id is 'The account that saw it.';
comment on column rowgram_user_presences.bare_jid is 'The user.';
comment on column rowgram_user_presences.available is 'Whether the user is online with any client.';
comment on column rowgram_user_presences.changed_at is 'Since when.';

comment on function set_password(text, text, text, text[]) is
  'Sets the password of a user, who is made if there is none, as verifiers: any of scram-sha-1, scram-sha-256, bcrypt, ha1, md5, plain. Those not named go.';
comment on function openfire_set_password(text, text) is
  'Called by Openfire: stores the MD5 or bcrypt of a new password; the other verifiers of the user go.';
comment on function rowgram_users_domain() is 'users_domain of rowgram_settings.';
comment on function rowgram_fold_domain(text) is 'A domain in lower case; an error for what is none.';
comment on function rowgram_fold_login(text) is 'A login as it is stored; an error for what cannot stand before the @ of a JID (RFC 7622 §3.3).';
comment on function rowgram_check_verifiers(rowgram_users) is 'An error for a user with a verifier of the wrong type, or without any.';
comment on function rowgram_scram_verifier(text, text) is
  'Verifier of a password with a new salt (RFC 5802 §3, RFC 5803); the hash is sha1 or sha256.';
comment on function rowgram_bcrypt(text) is 'bcrypt of a password with a new salt.';
comment on function rowgram_check_user() is 'Trigger: folds login and domain, and refuses what is no user.';
comment on function rowgram_check_group() is 'Trigger: folds the names of a group or a member, and adds the domain.';
comment on function rowgram_leave_groups() is 'Trigger: a user who is deleted leaves all groups.';
comment on function rowgram_name_domain() is 'Trigger: users and groups without a domain get the one that is set.';
comment on function rowgram_mark_available() is 'Trigger: a user has come online.';
comment on function rowgram_mark_unavailable() is 'Trigger: a user has gone.';
