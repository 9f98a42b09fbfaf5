/** What Openfire is to be told so that it finds its users here: the source of the files beside this one. */

export type Properties = Record<string, string>;

const CLASSES: Properties = {
  'provider.auth.className': 'org.jivesoftware.openfire.auth.JDBCAuthProvider',
  'provider.user.className': 'org.jivesoftware.openfire.user.JDBCUserProvider',
  'provider.group.className': 'org.jivesoftware.openfire.group.JDBCGroupProvider',
  'provider.admin.className': 'org.jivesoftware.openfire.admin.JDBCAdminProvider',
};

/** By MD5, which every user and account has. */
const MD5: Properties = {
  'jdbcAuthProvider.passwordType': 'md5',
  'jdbcAuthProvider.passwordSQL':
    'select password from openfire_users_view where username = ? and password is not null',
};

// Openfire fails on a NULL.
const BCRYPT: Properties = {
  'jdbcAuthProvider.passwordType': 'bcrypt',
  'jdbcAuthProvider.passwordSQL':
    'select bcrypt from openfire_users_view where username = ? and bcrypt is not null',
};

const STATEMENTS: Properties = {
  'jdbcAuthProvider.allowUpdate': 'true',
  // A plain UPDATE would change the password, and Openfire say that it failed: it wants a row.
  'jdbcAuthProvider.setPasswordSQL': 'select openfire_set_password(?, ?)',
  'jdbcUserProvider.loadUserSQL': 'select name, email from openfire_users_view where username = ?',
  'jdbcUserProvider.userCountSQL': 'select count(*) from openfire_users_view',
  // Openfire pages through the answer, so it needs an order.
  'jdbcUserProvider.allUsersSQL': 'select username from openfire_users_view order by username',
  'jdbcUserProvider.searchSQL': 'select username from openfire_search_view where',
  'jdbcUserProvider.usernameField': 'username',
  'jdbcUserProvider.nameField': 'name',
  'jdbcUserProvider.emailField': 'email',
  'jdbcGroupProvider.groupCountSQL': 'select count(*) from openfire_groups_view',
  'jdbcGroupProvider.allGroupsSQL':
    'select group_name from openfire_groups_view order by group_name',
  'jdbcGroupProvider.userGroupsSQL':
    'select group_name from openfire_group_members_view where username = ? order by group_name',
  'jdbcGroupProvider.descriptionSQL':
    'select description from openfire_groups_view where group_name = ?',
  'jdbcGroupProvider.loadMembersSQL':
    'select username from openfire_group_members_view where group_name = ? and not is_admin order by username',
  'jdbcGroupProvider.loadAdminsSQL':
    'select username from openfire_group_members_view where group_name = ? and is_admin order by username',
  'jdbcAdminProvider.getAdminsSQL': 'select username from openfire_admins_view order by username',
};

/** The providers use Openfire's own connections; else they would open new ones for each login. */
const POOL: Properties = Object.fromEntries(
  ['Auth', 'User', 'Group', 'Admin'].map((name) => [
    `jdbc${name}Provider.useConnectionProvider`,
    'true',
  ]),
);

/** Components log in with a secret that is listed for their domain. */
const COMPONENTS: Properties = {
  'xmpp.component.socket.active': 'true',
  'xmpp.component.socket.port': '5275',
  'xmpp.component.permission': 'whitelist',
};

// The providers read these from the file; what is of components has to be set in the console then.
const ELSEWHERE: Properties = {
  'jdbcProvider.driver': 'org.postgresql.Driver',
  'jdbcProvider.connectionString':
    'jdbc:postgresql://127.0.0.1/app?user=openfire&password=secret&currentSchema=public',
};

const NOTE = 'Written from properties.ts; a test holds them to each other.';

const formatSql = (about: string, properties: Properties): string =>
  [
    `-- ${about} ${NOTE}`,
    '-- Run it while Openfire is stopped, for it keeps what it has read; safe to run again.',
    '',
    'insert into ofProperty (name, propValue) values',
    Object.entries(properties)
      .map(([name, value]) => `  ('${name}', '${value.replaceAll("'", "''")}')`)
      .join(',\n'),
    'on conflict (name) do update set propValue = excluded.propValue, encrypted = null, iv = null;',
    '',
  ].join('\n');

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** The parts of a name are nested elements. */
const formatElements = (properties: [path: string[], value: string][], indent: string): string => {
  const groups = Map.groupBy(properties, ([[first = '']]) => first);
  return [...groups]
    .map(([name, own]) => {
      const [[path, value] = [[], '']] = own;
      if (path.length === 1) return `${indent}<${name}>${escapeXml(value)}</${name}>\n`;
      const inner = own.map(([[, ...rest], text]): [string[], string] => [rest, text]);
      return `${indent}<${name}>\n${formatElements(inner, `${indent}  `)}${indent}</${name}>\n`;
    })
    .join('');
};

const formatXml = (about: string, properties: Properties): string =>
  `<!-- ${about} ${NOTE} -->\n<jive>\n${formatElements(
    Object.entries(properties).map(([name, value]) => [name.split('.'), value]),
    '  ',
  )}</jive>\n`;

/** The files of this folder by name. */
export const formatFiles = (): Record<string, string> => ({
  'ofproperty.sql': formatSql('For an Openfire whose own tables are in our database.', {
    ...CLASSES,
    ...POOL,
    ...MD5,
    ...STATEMENTS,
    ...COMPONENTS,
  }),
  'bcrypt.sql': formatSql('After ofproperty.sql: passwords are compared by bcrypt.', BCRYPT),
  'openfire-provider.xml': formatXml(
    'For conf/openfire.xml of an Openfire that has its own tables elsewhere.',
    { ...CLASSES, ...ELSEWHERE, ...MD5, ...STATEMENTS },
  ),
});
