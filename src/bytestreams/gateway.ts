/** The bytestreams proxy (XEP-0065): components that tell where to connect, and activate what has. */
import type { Component } from '../components/component.ts';
import { type ComponentGatewayOptions, createComponentGateway } from '../components/gateway.ts';
import { shardOf } from '../db/ownership.ts';
import type { Gateway, GatewayParts } from '../gateway.ts';
import { readJid } from '../xmpp/wire/jid.ts';
import { addressRulesOf } from './access.ts';
import { createService, type Policy } from './service.ts';
import { logCrashed, selectAcl, selectLimits, selectStreamhosts } from './store.ts';
import { createStreams } from './streams.ts';

export const createBytestreamsGateway = (
  parts: GatewayParts,
  timing: NonNullable<ComponentGatewayOptions['timing']> = {},
): Gateway => {
  const { db } = parts;
  const log = parts.log.child({ gateway: 'bytestreams' });
  const streams = createStreams(db, log);
  let policy: Policy = { acl: [], limits: [] };
  /** Whose left-over streams have been logged. */
  let settled = new Set<string>();

  const serve = (component: Component) =>
    createService(component, { streams, policy: () => policy, log });
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
      const [acl, limits, hosts] = await Promise.all([
        selectAcl(db),
        selectLimits(db),
        selectStreamhosts(db),
      ]);
      policy = { acl, limits };
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
