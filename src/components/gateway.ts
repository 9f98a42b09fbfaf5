/** What keeps the components of a gateway online: each enabled row whose shard is ours is a link. */
import { shardOf } from '../db/ownership.ts';
import { createStates } from '../db/states.ts';
import type { Gateway, GatewayParts } from '../gateway.ts';
import { readJidParts } from '../xmpp/wire/jid.ts';
import type { Component, Serve } from './component.ts';
import { createLink, type Link, type LinkParts } from './link.ts';
import {
  type ComponentRow,
  type ComponentState,
  selectComponents,
  updateOff,
  updateStates,
} from './store.ts';

export type ComponentGatewayOptions = {
  /** Of the gateway, as in xmpp_components.gateway. */
  name: string;
  /** Called for each component that is to be online. */
  serve: Serve;
  timing?: LinkParts['timing'];
};

/** Plain, so that a gateway with more to it can be made around it: its own tables, channels and syncs. */
export type ComponentGateway = Gateway & {
  /** Those that this daemon holds, online or not. */
  components(): Component[];
};

const GOODBYE_MS = 1_000;

/** @returns null for what is no domain alone */
const readDomain = (text: string): string | null => {
  const jid = readJidParts(text);
  return jid && jid.local === null && jid.resource === null ? jid.domain : null;
};

export const createComponentGateway = (
  { db, ownership, log: parentLog, version }: GatewayParts,
  { name, serve, timing = {} }: ComponentGatewayOptions,
): ComponentGateway => {
  const log = parentLog.child({ gateway: name });
  const links = new Map<number, Link>();
  /** Links whose goodbye is under way: their domain is not free before. */
  const closing = new Set<{ id: number; domain: string; closed: Promise<void> }>();
  /** Shards that are being given up, by their epochs: nothing new is begun for them. */
  const leaving = new Map<number, number>();
  let rows: readonly ComponentRow[] = [];
  let isStopping = false;

  const isOurs = (id: number): boolean => {
    const shard = shardOf(id);
    const epoch = ownership.epochs(name).get(shard);
    return epoch !== undefined && epoch !== leaving.get(shard);
  };
  const states = createStates(
    ({ componentId }) => componentId,
    (batch: ComponentState[]) => updateStates(db, name, batch),
    log,
  );
  const parts: LinkParts = {
    serve,
    log,
    version,
    isFresh: () => ownership.isFresh(),
    report: states.report,
    timing,
  };

  const closeLink = async (id: number, timeoutMs: number): Promise<void> => {
    const link = links.get(id);
    if (!link) return;
    links.delete(id);
    const goodbye = { id, domain: link.domain, closed: link.close(timeoutMs) };
    closing.add(goodbye);
    await goodbye.closed.finally(() => closing.delete(goodbye));
    // Else it is another daemon's by now.
    if (isOurs(id)) states.report({ componentId: id, state: 'off', info: null, afterMs: null });
    match();
  };

  const open = (row: ComponentRow, domain: string | null) => {
    if (domain === null) {
      const info = `'${row.domain}' is no domain`;
      states.report({ componentId: row.id, state: 'refused', info, afterMs: null });
      return;
    }
    const isTaken = [...closing].some((other) => other.id === row.id || other.domain === domain);
    if (isTaken) return;
    try {
      links.set(row.id, createLink(row, domain, parts));
    } catch (err) {
      log.error({ err, component: domain }, 'component not served');
    }
  };

  /** Opens, changes and closes links until they are as the rows want them. */
  const match = (): void => {
    if (isStopping) return;
    const wanted = rows.filter(({ id, enabled }) => enabled && isOurs(id));
    const domains = new Map(wanted.map(({ id, domain }) => [id, readDomain(domain)]));
    for (const [id, link] of links) {
      if (domains.get(id) === link.domain) continue;
      closeLink(id, GOODBYE_MS).catch((err: unknown) => log.error({ err }, 'close failed'));
    }
    for (const row of wanted) {
      const link = links.get(row.id);
      if (link) link.change(row);
      else open(row, domains.get(row.id) ?? null);
    }
  };

  return {
    name,
    tables: ['xmpp_components'],
    channels: {},
    onTableChange() {},
    defaultLinkShard: () => null,
    async sync() {
      if (isStopping) return;
      rows = await selectComponents(db, name);
      const disabled = rows.filter(({ id, enabled }) => !enabled && isOurs(id) && !links.has(id));
      await updateOff(
        db,
        disabled.map(({ id }) => id),
      );
      match();
    },
    drop() {
      rows = [];
      for (const link of links.values()) link.drop();
      links.clear();
      states.clear();
    },
    async release(shard) {
      leaving.set(shard, ownership.epochs(name).get(shard) ?? 0);
      const ids = [...links.keys()].filter((id) => shardOf(id) === shard);
      const under = [...closing].filter(({ id }) => shardOf(id) === shard);
      const goodbyes = ids.map((id) => closeLink(id, GOODBYE_MS));
      await Promise.all([...goodbyes, ...under.map(({ closed }) => closed)]);
      await states.flushed();
    },
    async stop(timeoutMs) {
      isStopping = true;
      await Promise.all([...links.keys()].map((id) => closeLink(id, timeoutMs)));
      await Promise.all([...closing].map(({ closed }) => closed));
      await states.flushed();
    },
    components: () => [...links.values()].map(({ component }) => component),
  };
};
