/** The bytestreams proxy (XEP-0065): components that tell where to connect, and activate what has. */
import type { Element } from '@xmpp/client';
import type { Component, Service } from '../components/component.ts';
import { type ComponentGatewayOptions, createComponentGateway } from '../components/gateway.ts';
import { shardOf } from '../db/ownership.ts';
import { RejectError } from '../errors.ts';
import type { Gateway, GatewayParts } from '../gateway.ts';
import { formatRefusal, formatResult } from '../xmpp/wire/answer.ts';
import { parseJid, readJid } from '../xmpp/wire/jid.ts';
import { type AclRow, addressRulesOf, findLimits, isAllowed, type LimitsRow } from './access.ts';
import {
  type BytestreamsRequest,
  bytestreamsNs,
  formatStreamhost,
  readBytestreamsRequest,
} from './stanzas.ts';
import { logCrashed, selectAcl, selectLimits, selectStreamhosts } from './store.ts';
import { createStreams } from './streams.ts';

export const createBytestreamsGateway = (
  parts: GatewayParts,
  timing: NonNullable<ComponentGatewayOptions['timing']> = {},
): Gateway => {
  const { db } = parts;
  const log = parts.log.child({ gateway: 'bytestreams' });
  const streams = createStreams(db, log);
  let acl: readonly AclRow[] = [];
  let limits: readonly LimitsRow[] = [];
  /** Whose left-over streams have been logged. */
  let settled = new Set<string>();

  const requireAllowed = (proxy: string, role: 'requester' | 'target', jid: string) => {
    if (isAllowed(acl, proxy, role, parseJid(jid))) return;
    throw new RejectError('the proxy is not for you', 'forbidden');
  };

  const answer = async ({ domain }: Component, request: BytestreamsRequest): Promise<string> => {
    const { requester } = request;
    requireAllowed(domain, 'requester', requester.normalised);
    if (request.type === 'address') {
      const streamhost = streams.listeners.nextHost(domain);
      if (!streamhost) throw new RejectError('the proxy listens nowhere', 'not-allowed');
      return formatStreamhost(streamhost, request.sid);
    }
    requireAllowed(domain, 'target', request.target.normalised);
    const row = findLimits(limits, domain, parseJid(requester.normalised));
    await streams.activate(domain, request, row);
    return '';
  };

  const formatError = (stanza: Element, error: unknown): string => {
    if (error instanceof RejectError) {
      return formatRefusal(stanza, { condition: error.condition, text: error.message });
    }
    log.error({ err: error }, 'request not handled');
    return formatRefusal(stanza, { condition: 'internal-server-error' });
  };

  const respond = async (component: Component, stanza: Element) => {
    try {
      const request = readBytestreamsRequest(stanza);
      if (!request) return;
      component.send(formatResult(stanza, await answer(component, request)));
    } catch (error) {
      component.send(formatError(stanza, error));
    }
  };

  const serve = (component: Component): Service => ({
    describe: () => ({
      identities: [
        { category: 'proxy', type: 'bytestreams', lang: null, name: 'SOCKS5 Bytestreams' },
      ],
      features: [bytestreamsNs],
    }),
    receive(stanza) {
      const { type, from, to, id } = stanza.attrs;
      const isRequest = stanza.name === 'iq' && (type === 'get' || type === 'set');
      if (!isRequest || !stanza.getChild('query', bytestreamsNs)) return null;
      if (!id || !from || to !== component.domain) return null;
      void respond(component, stanza);
      return 'taken';
    },
  });

  const inner = createComponentGateway(parts, { name: 'bytestreams', serve, timing });
  const proxies = (): string[] => inner.components().map(({ domain }) => domain);

  const settle = async () => {
    const ours = proxies();
    const fresh = ours.filter((proxy) => !settled.has(proxy));
    if (fresh.length > 0) await logCrashed(db, fresh, streams.instance);
    settled = new Set(ours);
  };

  return {
    ...inner,
    tables: [
      ...inner.tables,
      'bytestream_streamhosts',
      'bytestream_acl',
      'bytestream_limits',
      'bytestream_streams',
    ],
    async sync() {
      const [newAcl, newLimits, hosts] = await Promise.all([
        selectAcl(db),
        selectLimits(db),
        selectStreamhosts(db),
      ]);
      acl = newAcl;
      limits = newLimits;
      await inner.sync();
      const ours = new Set(proxies());
      const wanted = hosts
        .map((row) => ({ ...row, proxy: readJid(row.proxy) ?? row.proxy }))
        .filter(({ proxy }) => ours.has(proxy));
      streams.listeners.match(wanted, (proxy) => addressRulesOf(acl, proxy));
      await settle();
      await streams.match();
    },
    drop() {
      inner.drop();
      // Another daemon may have to listen; what is active goes on.
      settled.clear();
      streams.listeners.pause();
    },
    async release(shard) {
      const leaving = inner.components().filter(({ id }) => shardOf(id) === shard);
      await inner.release(shard);
      for (const { domain } of leaving) await streams.release(domain);
    },
    async stop(timeoutMs) {
      await inner.stop(timeoutMs);
      await streams.close();
    },
  };
};
