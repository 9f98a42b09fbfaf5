/** What a proxy answers at its domain: where to connect, and whether a stream is activated. */
import type { Element } from '@xmpp/client';
import type { Component, Service } from '../components/component.ts';
import { RejectError } from '../errors.ts';
import type { Log } from '../log.ts';
import { formatRefusal, formatResult } from '../xmpp/wire/answer.ts';
import { parseJid } from '../xmpp/wire/jid.ts';
import { type AclRow, findLimits, isAllowed, type LimitsRow } from './access.ts';
import {
  type BytestreamsRequest,
  bytestreamsNs,
  formatStreamhost,
  readBytestreamsRequest,
} from './stanzas.ts';
import type { Streams } from './streams.ts';

/** The rows as they were last read. */
export type Policy = { acl: readonly AclRow[]; limits: readonly LimitsRow[] };

export type ServiceParts = { streams: Streams; policy(): Policy; log: Log };

const IDENTITY = { category: 'proxy', type: 'bytestreams', lang: null, name: 'SOCKS5 Bytestreams' };

export const createService = (component: Component, parts: ServiceParts): Service => {
  const { streams, policy, log } = parts;
  const { domain } = component;

  const requireAllowed = (role: 'requester' | 'target', jid: string) => {
    if (isAllowed(policy().acl, domain, role, parseJid(jid))) return;
    throw new RejectError('the proxy may not be used for this address', 'forbidden');
  };

  /** @returns the payload of the result @throws RejectError for what is refused */
  const answer = async (request: BytestreamsRequest): Promise<string> => {
    const { requester } = request;
    requireAllowed('requester', requester.normalised);
    if (request.type === 'address') {
      const streamhost = streams.listeners.nextHost(domain);
      if (!streamhost) throw new RejectError('the proxy listens nowhere', 'not-allowed');
      return formatStreamhost(streamhost, request.sid);
    }
    requireAllowed('target', request.target.normalised);
    const limits = findLimits(policy().limits, domain, parseJid(requester.normalised));
    await streams.activate(domain, request, limits);
    return '';
  };

  const formatError = (stanza: Element, error: unknown): string => {
    if (error instanceof RejectError) {
      return formatRefusal(stanza, { condition: error.condition, text: error.message });
    }
    log.error({ err: error }, 'request not handled');
    return formatRefusal(stanza, { condition: 'internal-server-error' });
  };

  const respond = async (stanza: Element) => {
    try {
      const request = readBytestreamsRequest(stanza);
      if (request) component.send(formatResult(stanza, await answer(request)));
    } catch (error) {
      component.send(formatError(stanza, error));
    }
  };

  return {
    describe: () => ({ identities: [IDENTITY], features: [bytestreamsNs] }),
    receive(stanza) {
      const { type, from, to, id } = stanza.attrs;
      const isRequest = stanza.name === 'iq' && (type === 'get' || type === 'set');
      if (!isRequest || !stanza.getChild('query', bytestreamsNs)) return null;
      if (!id || !from || to !== domain) return null;
      void respond(stanza);
      return 'taken';
    },
  };
};
