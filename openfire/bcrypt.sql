-- After ofproperty.sql: passwords are compared by bcrypt. Written from properties.ts; a test holds them to each other.
-- Run it while Openfire is stopped, for it keeps what it has read; safe to run again.

insert into ofProperty (name, propValue) values
  ('jdbcAuthProvider.passwordType', 'bcrypt'),
  ('jdbcAuthProvider.passwordSQL', 'select bcrypt from openfire_users_view where username = ? and bcrypt is not null')
on conflict (name) do update set propValue = excluded.propValue, encrypted = null, iv = null;
