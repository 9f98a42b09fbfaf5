/** What is an absolute URI, for those who hand it on to be clicked or fetched. */

// No flag i: with u it would let the Kelvin sign pass for a k. Browsers cut tabs and line breaks out of
// a URI and take a backslash for a slash; format characters turn the order of what is shown around.
const absolute = /^([A-Za-z][A-Za-z0-9+.-]*):([^\s<>"\\\p{Cc}\p{Cf}\p{Z}]+)$/u;
const authority = /^\/\/[^/?#]/;

/**
 * Reads the scheme of an absolute URI (RFC 3986 §4.3), letters beyond ASCII let through (RFC 3987).
 *
 * @returns in lower case; null for anything else, and for http and https without a host
 */
export const readScheme = (uri: string): string | null => {
  const [, name, rest = ''] = absolute.exec(uri) ?? [];
  const scheme = name?.toLowerCase() ?? null;
  const needsHost = scheme === 'http' || scheme === 'https';
  return needsHost && !authority.test(rest) ? null : scheme;
};
