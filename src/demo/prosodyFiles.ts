/** What a private Prosody reads: its configuration, and accounts that it would write the same way. */
import { createHash, createHmac, pbkdf2, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';

export type ProsodyConfig = {
  dir: string;
  dataDir: string;
  host: string;
  port: number;
  domain: string;
  isRoot: boolean;
  modules: string[];
  settings: string;
  /** Paths of PEM files; null for no STARTTLS. */
  tls: { certificate: string; key: string } | null;
  components: { port: number; secrets: Record<string, string> } | null;
};

const MODULES = [
  'disco',
  'roster',
  'saslauth',
  'carbons',
  'smacks',
  'ping',
  'offline',
  'mam',
  'time',
  'version',
];
const NO_PORTS = ['s2s', 's2s_direct_tls', 'c2s_direct_tls', 'legacy_ssl', 'http', 'https'];

/** Prosody's own default for the accounts that it makes. */
const ITERATIONS = 10_000;

/** The caller's settings come after ours, so they win; they may end in hosts of their own. */
export const formatProsodyConfig = (config: ProsodyConfig): string =>
  [
    ...formatGlobals(config),
    ...formatTls(config.tls),
    config.settings,
    `VirtualHost ${quote(config.domain)}`,
    ...formatComponents(config.components),
    '',
  ].join('\n');

const formatGlobals = (config: ProsodyConfig): string[] => [
  `data_path = ${quote(config.dataDir)}`,
  `certificates = ${quote(config.dir)}`,
  `log = { { levels = { min = "info" }, to = "console" } }`,
  `interfaces = { ${quote(config.host)} }`,
  `c2s_ports = { ${config.port} }`,
  ...(config.components
    ? [
        `component_interfaces = { ${quote(config.host)} }`,
        `component_ports = { ${config.components.port} }`,
      ]
    : []),
  ...NO_PORTS.map((service) => `${service}_ports = {}`),
  ...(config.isRoot ? ['run_as_root = true'] : []),
  'authentication = "internal_hashed"',
  'storage = "internal"',
  // The loopback is the only way in.
  'c2s_require_encryption = false',
  'allow_unencrypted_plain_auth = true',
  'archive_expires_after = "never"',
  `modules_enabled = ${list([...MODULES, ...(config.tls ? ['tls'] : []), ...config.modules])}`,
  `modules_disabled = ${list(['s2s', 's2s_auth_certs', ...(config.tls ? [] : ['tls'])])}`,
];

const formatTls = (tls: ProsodyConfig['tls']): string[] =>
  tls ? [`ssl = { certificate = ${quote(tls.certificate)}, key = ${quote(tls.key)} }`] : [];

const formatComponents = (components: ProsodyConfig['components']): string[] =>
  components === null
    ? []
    : Object.entries(components.secrets).flatMap(([domain, secret]) => [
        `Component ${quote(domain)}`,
        `component_secret = ${quote(secret)}`,
      ]);

const list = (names: string[]): string => `{ ${names.map(quote).join(', ')} }`;

/** A Lua string. Every byte is written as its number: no text can end the string early. */
const quote = (text: string): string => `"${[...Buffer.from(text)].map(quoteByte).join('')}"`;

const quoteByte = (byte: number): string =>
  /[\w ./:@-]/.test(String.fromCharCode(byte))
    ? String.fromCharCode(byte)
    : `\\${String(byte).padStart(3, '0')}`;

/**
 * The file of an account holds keys, never the password (RFC 5802 §3).
 *
 * @param salt as text; Prosody hashes its characters, not bytes that it encodes
 */
export const formatProsodyAccount = async (
  password: string,
  salt: string = randomUUID(),
): Promise<string> => {
  // Of SASLprep (RFC 4013) only the normalization: its prohibited characters are not for a demo.
  const prepared = password.normalize('NFKC');
  const salted = await promisify(pbkdf2)(prepared, salt, ITERATIONS, 20, 'sha1');
  const storedKey = createHash('sha1').update(sign(salted, 'Client Key')).digest('hex');
  return `return {
  ["salt"] = ${quote(salt)};
  ["iteration_count"] = ${ITERATIONS};
  ["stored_key"] = ${quote(storedKey)};
  ["server_key"] = ${quote(sign(salted, 'Server Key').toString('hex'))};
};
`;
};

const sign = (key: Buffer, text: string): Buffer => createHmac('sha1', key).update(text).digest();

/** Where Prosody looks for an account, below its data directory. */
export const prosodyAccountPath = (name: string, domain: string): string[] => [
  escapeName(domain),
  'accounts',
  `${escapeName(name)}.dat`,
];

const escapeName = (text: string): string =>
  [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      if (byte < 128 && /[A-Za-z0-9]/.test(character)) return character;
      return `%${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
