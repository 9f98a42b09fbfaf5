/**
 * XMPP addresses in their one prepared form (RFC 7622), in which equal addresses are equal strings.
 *
 * Servers that still use stringprep (RFC 6122: Prosody, ejabberd) differ on a few: they take straße for
 * strasse and ﬁ for fi, and drop joiners and variation selectors from resources. Here ß is kept, and
 * ﬁ or a variation selector is refused: tell the replies of such a server by their id, not their JID.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII, domainToUnicode } from 'node:url';
import { RejectError } from '../../errors.ts';
import { enforceOpaque, enforceUsername } from './precis.ts';

export type Jid = { local: string | null; domain: string; resource: string | null };

const maxPartBytes = 1023;
/** Preparing shortens a text by two thirds at most, but for ignorable characters in a name. */
const maxTextChars = 3 * (3 * maxPartBytes + 2);
/** RFC 1035 §2.3.4, less the length bytes of the first label and of the root. */
const maxNameChars = 253;

/** Letters, digits, hyphens inside; and the underscore, which servers take and private hosts use. */
const label = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const hostname = new RegExp(`^${label}(?:\\.${label})*$`);

// Parts that need their capitals lowered and nothing else. A last label with a digit may be a number.
const plainLocal = /^[!#-%(-.0-9;=?A-Z[-~]{1,1023}$/;
const plainName = new RegExp(`^(?!.*xn--)(?:${label}\\.)*(?![0-9])${label}$`, 'i');
const plainResource = /^[ -~]{1,1023}$/;

const refuse = (reason: string): RejectError => new RejectError(reason, 'jid-malformed');

const requireLength = (text: string, part: string): string => {
  if (text === '') throw refuse(`the ${part} is empty`);
  if (Buffer.byteLength(text) <= maxPartBytes) return text;
  throw refuse(`the ${part} is longer than ${maxPartBytes} bytes`);
};

const prepareLocal = (text: string): string => {
  if (plainLocal.test(text)) return text.toLowerCase();
  const local = requireLength(enforceUsername(text, 'localpart'), 'localpart');
  const excluded = /["&'/:<>@]/.exec(local);
  if (excluded === null) return local;
  throw refuse(`the localpart may not contain ${excluded[0]} (RFC 7622 §3.3.1)`);
};

const prepareResource = (text: string): string =>
  plainResource.test(text)
    ? text
    : requireLength(enforceOpaque(text, 'resourcepart'), 'resourcepart');

const prepareIpv6 = (literal: string): string => {
  const address = literal.slice(1, -1);
  const isPlain = literal.endsWith(']') && isIPv6(address) && !address.includes('%');
  if (!isPlain) throw refuse('the domainpart is not an IPv6 address in brackets');
  return domainToASCII(literal);
};

/** Node passes xn-- labels on unread when all is ASCII: each must be what its own text encodes to. */
const isDecodable = (ascii: string, unicode: string): boolean =>
  !ascii.includes('xn--') || (!unicode.includes('xn--') && domainToASCII(unicode) === ascii);

/** Node reads more than names (%41, 127.1, tabs), so ASCII that no name has is kept away from it. */
const prepareName = (text: string): string => {
  const ascii = /[^a-z0-9._\x80-\u{10FFFF}-]/iu.test(text) ? '' : domainToASCII(text);
  const name = ascii.replace(/\.$/, '');
  const isName = hostname.test(name) && name.length <= maxNameChars && !isIPv4(name);
  const unicode = isName ? domainToUnicode(name) : '';
  if (isName && isDecodable(name, unicode)) return unicode;
  throw refuse('the domainpart is not a domain name');
};

/** Labels are mapped by UTS 46, more widely than IDNA 2008 does: ﬁ becomes fi, and symbols pass. */
const prepareDomain = (text: string): string => {
  if (text.length <= maxNameChars && plainName.test(text)) return text.toLowerCase();
  if (text === '') throw refuse('the domainpart is empty');
  if (text.startsWith('[')) return prepareIpv6(text);
  const undotted = text.replace(/\.$/, '');
  return isIPv4(undotted) ? undotted : prepareName(text);
};

/**
 * Reads an address and prepares its parts for comparison.
 *
 * @throws RejectError `jid-malformed`, saying which part is wrong and why; it never quotes the text
 */
export const parseJid = (text: string): Jid => {
  if (text.length > maxTextChars) throw refuse('the address is longer than any can be');
  const slash = text.indexOf('/');
  const bare = slash === -1 ? text : text.slice(0, slash);
  const at = bare.indexOf('@');
  return {
    local: at === -1 ? null : prepareLocal(bare.slice(0, at)),
    domain: prepareDomain(bare.slice(at + 1)),
    resource: slash === -1 ? null : prepareResource(text.slice(slash + 1)),
  };
};

export const formatJid = ({ local, domain, resource }: Jid): string =>
  (local === null ? '' : `${local}@`) + domain + (resource === null ? '' : `/${resource}`);

/**
 * The prepared address without its resource.
 *
 * @throws RejectError `jid-malformed` when any part of the text is wrong, the resource included
 */
export const bareJid = (text: string): string => formatJid({ ...parseJid(text), resource: null });

/** The parts of an address; null for what is none. */
export const readJidParts = (text: string | null | undefined): Jid | null => {
  try {
    return text ? parseJid(text) : null;
  } catch {
    return null;
  }
};

/** The prepared address; null for what is none. */
export const readJid = (text: string | null | undefined): string | null => {
  const jid = readJidParts(text);
  return jid && formatJid(jid);
};

/** The prepared address without its resource; null when any part of the text is wrong. */
export const readBareJid = (text: string | null | undefined): string | null => {
  const jid = readJidParts(text);
  return jid && formatJid({ ...jid, resource: null });
};
