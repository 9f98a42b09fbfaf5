/** How a component's stream begins, and the errors that it ends with (XEP-0114). */
import { createHash } from 'node:crypto';
import type { Element } from '@xmpp/client';
import { ConfigError, ProtocolError, RejectError } from '../../errors.ts';
import { escapeAttribute } from './xml.ts';

export const componentNs = 'jabber:component:accept';
const streamNs = 'http://etherx.jabber.org/streams';

export const formatComponentHeader = (domain: string): string =>
  `<?xml version='1.0'?><stream:stream to='${escapeAttribute(domain)}' ` +
  `xmlns='${componentNs}' xmlns:stream='${streamNs}'>`;

/** What shows that the secret is known: lower-case hex of SHA-1 over the stream's id and the secret (§3). */
export const hashHandshake = (streamId: string, secret: string): string =>
  createHash('sha1').update(streamId).update(secret).digest('hex');

/**
 * The answer to the server's stream header.
 *
 * @returns empty for a stream without an id: Prosody has none where its next word is an error
 * @throws ConfigError for a port that is not for components
 */
export const formatHandshake = (header: Element, secret: string): string => {
  const { id, xmlns } = header.attrs;
  if (xmlns !== componentNs) {
    throw new ConfigError(`the server takes no components at this port, but ${xmlns}`);
  }
  return id ? `<handshake>${hashHandshake(id, secret)}</handshake>` : '';
};

/**
 * What a stream error means for the component. Source: XEP-0114 §3, RFC 6120 §4.9.3.
 *
 * @returns null for what is no stream error; a ProtocolError names the condition as its source
 */
export const readComponentError = (element: Element, domain: string): Error | null => {
  if (!element.is('error', streamNs)) return null;
  const condition = element.getChildElements()[0]?.getName() ?? 'undefined-condition';
  const text = element.getChildText('text');
  const said = text ? `${condition} (${text})` : condition;
  switch (condition) {
    case 'not-authorized':
      return new RejectError(`the server refused ${domain} with this secret: ${said}`, condition);
    case 'host-unknown':
      return new ConfigError(`the server knows no component ${domain}: ${said}`);
    case 'host-gone':
      return new ConfigError(`the server no longer has a component ${domain}: ${said}`);
    case 'invalid-namespace':
      return new ConfigError(`the server takes no components at this port: ${said}`);
    case 'conflict':
      return new ProtocolError(`another connection has the domain ${domain}: ${said}`, condition);
    default:
      return new ProtocolError(`the server ended the stream: ${said}`, condition);
  }
};
