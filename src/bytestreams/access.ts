/** Who may use the proxy, and how much of it. */
import { type Jid, readJidParts } from '../xmpp/wire/jid.ts';

/** Who a row is for: *, a domain, *.domain for those below it, a bare or a full JID. */
export type AclRow = {
  proxy: string | null;
  role: 'requester' | 'target' | 'ip';
  who: string;
  action: 'allow' | 'deny';
};

export type LimitsRow = {
  proxy: string | null;
  who: string;
  maxStreams: number | null;
  rateLimit: number | null;
  maxBytes: number | null;
  maxTimeS: number | null;
  quotaBytes: number | null;
  quotaPeriod: Period | null;
};

export type Period = 'hour' | 'day' | 'month';

/** The closer a row names somebody, the greater; 0 when it does not name him. */
const closeness = (who: string, jid: Jid): number => {
  if (who === '*') return 1;
  if (who.startsWith('*.')) {
    const domain = readJidParts(who.slice(2))?.domain;
    // Of two domains the longer one is the closer, by less than a kind of row.
    return domain && jid.domain.endsWith(`.${domain}`) ? 2 + domain.length / 2_000 : 0;
  }
  const named = readJidParts(who);
  if (!named || named.domain !== jid.domain) return 0;
  if (named.local === null && named.resource === null) return 3;
  if (named.local !== jid.local) return 0;
  if (named.resource === null) return 4;
  return named.resource === jid.resource ? 5 : 0;
};

const concerns = (row: { proxy: string | null }, proxy: string): boolean =>
  row.proxy === null || readJidParts(row.proxy)?.domain === proxy;

/** @param rows in their order: the first that fits decides; whom none fits is let in */
export const isAllowed = (
  rows: readonly AclRow[],
  proxy: string,
  role: 'requester' | 'target',
  jid: Jid,
): boolean => {
  const first = rows.find(
    (row) => row.role === role && concerns(row, proxy) && closeness(row.who, jid) > 0,
  );
  return first?.action !== 'deny';
};

/** The rules for addresses, for the listeners of the proxy. */
export const addressRulesOf = (rows: readonly AclRow[], proxy: string) =>
  rows
    .filter((row) => row.role === 'ip' && concerns(row, proxy))
    .map(({ action, who }) => ({ action, network: who }));

/** The row that names the requester most closely; one of this proxy comes before one of all. */
export const findLimits = (
  rows: readonly LimitsRow[],
  proxy: string,
  jid: Jid,
): LimitsRow | null => {
  const fitting = rows
    .filter((row) => concerns(row, proxy))
    .map((row) => ({ row, weight: closeness(row.who, jid) + (row.proxy === null ? 0 : 0.5) }))
    .filter(({ row }) => closeness(row.who, jid) > 0)
    .toSorted((a, b) => b.weight - a.weight);
  return fitting[0]?.row ?? null;
};

/** When the period began, in UTC. */
export const startOfPeriod = (period: Period, now: Date): Date => {
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()];
  switch (period) {
    case 'hour':
      return new Date(Date.UTC(year, month, day, now.getUTCHours()));
    case 'day':
      return new Date(Date.UTC(year, month, day));
    case 'month':
      return new Date(Date.UTC(year, month));
    default:
      return period satisfies never;
  }
};
