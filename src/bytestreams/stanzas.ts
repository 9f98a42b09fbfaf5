/** The requests to a bytestreams proxy (XEP-0065 §6) ⇄ plain objects. */
import type { Element } from '@xmpp/client';
import { RejectError } from '../errors.ts';
import { formatJid, parseJid } from '../xmpp/wire/jid.ts';
import { formatTag } from '../xmpp/wire/tag.ts';
import type { JidForms } from './wire/streamHash.ts';

export const bytestreamsNs = 'http://jabber.org/protocol/bytestreams';

export type BytestreamsRequest =
  | { type: 'address'; sid: string | null; requester: JidForms }
  | { type: 'activate'; sid: string; requester: JidForms; target: JidForms };

/** It is kept with each stream. */
const maxSidChars = 1_000;

const readForms = (received: string): JidForms => ({
  received,
  normalised: formatJid(parseJid(received)),
});

/**
 * @param stanza an iq of type get or set
 * @returns null for what is no request to a proxy
 * @throws RejectError `bad-request` or `jid-malformed` for one that is not whole
 */
export const readBytestreamsRequest = (stanza: Element): BytestreamsRequest | null => {
  const query = stanza.getChild('query', bytestreamsNs);
  const { type, from = '' } = stanza.attrs;
  if (stanza.name !== 'iq' || !query || (type !== 'get' && type !== 'set')) return null;
  const requester = readForms(from);
  const sid = query.attrs.sid || null;
  // A sid is not needed to ask for the address, and not minded (§6.2.2).
  if (type === 'get') return { type: 'address', sid, requester };
  const activate = query.getChild('activate', bytestreamsNs);
  if (!activate) throw new RejectError('there is nothing to activate', 'bad-request');
  if (!sid) throw new RejectError('the stream has no sid', 'bad-request');
  if (sid.length > maxSidChars) throw new RejectError('the sid is too long', 'bad-request');
  const target = readForms(activate.text().trim());
  return { type: 'activate', sid, requester, target };
};

export type Streamhost = { jid: string; host: string; port: number };

/** @param streamhost its host is a name or an address; IPv6 stands without brackets (RFC 5952) */
export const formatStreamhost = (streamhost: Streamhost, sid: string | null): string =>
  formatTag('query', { xmlns: bytestreamsNs, sid }, formatTag('streamhost', streamhost));
