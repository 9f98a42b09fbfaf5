/** The SQL of the components: what is desired of them, and their states. */
import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';

/** The desired part of a component's row. */
const row = z.object({
  id: z.number(),
  domain: z.string(),
  enabled: z.boolean(),
  host: z.string(),
  port: z.number(),
  secret: z.string(),
  tls: z.enum(['auto', 'direct', 'none']),
  ca: z.string().nullable(),
});
export type ComponentRow = z.infer<typeof row>;

export const selectComponents = (
  db: DatabasePool,
  gateway: string,
): Promise<readonly ComponentRow[]> =>
  db.any(sql.type(row)`
    select id, domain, enabled, srv_host as host, srv_port as port, secret, tls, tls_ca as ca
    from xmpp_components
    where gateway = ${gateway}
    order by id`);

export type ComponentState = {
  componentId: number;
  state: 'off' | 'connecting' | 'online' | 'backoff' | 'refused' | 'conflict';
  info: string | null;
  /** Milliseconds; null for no next try. */
  afterMs: number | null;
};

/** @param gateway whose rows they were: one that has become another's is left to that one */
export const updateStates = async (
  db: DatabasePool,
  gateway: string,
  states: ComponentState[],
): Promise<void> => {
  await db.query(sql.unsafe`
    update xmpp_components c set
      state = s.state, state_info = s.info,
      state_changed_at = case when c.state = s.state then c.state_changed_at else now() end,
      next_try_at = now() + make_interval(secs => s.after_ms / 1000)
    from ${sql.unnest(
      states.map(({ componentId, state, info, afterMs }) => [componentId, state, info, afterMs]),
      ['int8', 'text', 'text', 'float8'],
    )} as s (id, state, info, after_ms)
    where c.id = s.id and c.gateway = ${gateway}`);
};

/** Components that are not to be online, and whose last daemon could not say so. */
export const updateOff = async (db: DatabasePool, componentIds: number[]): Promise<void> => {
  await db.query(sql.unsafe`
    update xmpp_components set
      state = 'off', state_info = null, next_try_at = null, state_changed_at = now()
    where id = any(${sql.array(componentIds, 'int8')}) and not enabled and state <> 'off'`);
};
