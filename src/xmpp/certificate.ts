/** Why a server's certificate was not accepted, in words a person can act on. */
import type { PeerCertificate } from 'node:tls';

const selfSigned = new Set(['DEPTH_ZERO_SELF_SIGNED_CERT']);
const unknownIssuer = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

const formatDay = (date: Date): string =>
  Number.isNaN(date.getTime()) ? 'an unknown day' : date.toISOString().slice(0, 10);

const formatNames = ({ subject, subjectaltname }: PeerCertificate): string => {
  const names = subjectaltname?.split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''));
  return names?.join(', ') || [subject?.CN ?? []].flat().join(', ') || 'no name at all';
};

const formatIssuer = ({ issuer }: PeerCertificate): string =>
  [issuer?.CN ?? issuer?.O ?? []].flat().join(', ') || 'an issuer without a name';

const formatExpiry = ({ valid_to }: PeerCertificate, now: Date): string => {
  const end = new Date(valid_to);
  // When it still runs, it is one of its issuers that does not.
  return end < now ? `expired on ${formatDay(end)}` : 'has an expired certificate in its chain';
};

/**
 * Describes the failure that OpenSSL or Node names by `code`, to follow "the certificate of …".
 *
 * @param name what the certificate should have been for
 */
export const formatCertificateFailure = (
  code: string,
  certificate: PeerCertificate,
  name: string,
  now: Date,
): string => {
  const fingerprint = `SHA-256 fingerprint ${certificate.fingerprint256}`;
  if (code === 'CERT_HAS_EXPIRED') return formatExpiry(certificate, now);
  if (code === 'CERT_NOT_YET_VALID') {
    return `is not valid before ${formatDay(new Date(certificate.valid_from))}`;
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `is for ${formatNames(certificate)}, not for ${name}`;
  }
  if (selfSigned.has(code)) return `is self-signed (${fingerprint})`;
  if (unknownIssuer.has(code)) {
    return `was issued by an unknown authority, ${formatIssuer(certificate)} (${fingerprint})`;
  }
  return `was not accepted: ${code} (${fingerprint})`;
};
