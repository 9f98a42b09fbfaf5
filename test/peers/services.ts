/** What the test servers offer besides the usual: rooms, files, and what PEP and vCards need. */

/** Below the domain of the users, where both servers then list them. */
export const roomsDomainOf = (domain: string): string => `rooms.${domain}`;
export const uploadDomainOf = (domain: string): string => `upload.${domain}`;

export const PROSODY_MODULES = ['pep', 'vcard4', 'vcard_legacy', 'blocklist'];

/** Configuration text of Prosody: what is global has to stand before what is of a host. */
export const formatProsodyServices = (
  domain: string,
  host: string,
  httpPort: number,
): { globals: string; hosts: string } => ({
  globals: `
    http_ports = { ${httpPort} }
    http_interfaces = { "${host}" }`,
  hosts: `
    Component "${roomsDomainOf(domain)}" "muc"
      modules_enabled = { "muc_mam" }
      restrict_room_creation = false
      muc_log_by_default = true
    Component "${uploadDomainOf(domain)}" "http_file_share"
      http_host = "${host}"
      http_external_url = "http://${host}:${httpPort}/"`,
});

/** Modules of ejabberd with their options. Its users reach the files through `/upload`. */
export const buildEjabberdServices = (
  domain: string,
  host: string,
  httpPort: number,
  dir: string,
): Record<string, Record<string, unknown>> => ({
  mod_blocking: {},
  mod_http_upload: {
    hosts: [uploadDomainOf(domain)],
    docroot: dir,
    access: 'all',
    put_url: `http://${host}:${httpPort}/upload`,
  },
  mod_muc: { hosts: [roomsDomainOf(domain)], default_room_options: { mam: true } },
  mod_privacy: {},
  mod_pubsub: { plugins: ['flat', 'pep'] },
  mod_vcard: {},
  mod_vcard_xupdate: {},
});
