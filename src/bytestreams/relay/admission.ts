/** Bounds connections that belong to no stream yet, in all and by where they come from. */
import { isIPv6 } from 'node:net';

/** IPv4 in IPv6 is IPv4, and no address has the zone of an interface. */
export const plainAddress = (address: string): string =>
  address.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');

/** Who has one IPv6 address has a network of 64 bits of them. */
export const sourceOf = (address: string): string => {
  const plain = plainAddress(address);
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail ? tail.split(':').length : 0;
  const zeros = tail === undefined ? 0 : 8 - groups.length - rest;
  const all = [
    ...groups,
    ...Array<string>(Math.max(0, zeros)).fill('0'),
    ...(tail ?? '').split(':'),
  ];
  return `${all.slice(0, 4).join(':')}::/64`;
};

export type Admission = {
  /** Counts one in, or refuses it. */
  enter(address: string, bounds: { maxPending: number; maxPendingPerAddress: number }): boolean;
  leave(address: string): void;
  count(): number;
};

export const createAdmission = (): Admission => {
  const bySource = new Map<string, number>();
  let total = 0;
  return {
    enter(address, { maxPending, maxPendingPerAddress }) {
      const source = sourceOf(address);
      const own = bySource.get(source) ?? 0;
      if (total >= maxPending || own >= maxPendingPerAddress) return false;
      bySource.set(source, own + 1);
      total += 1;
      return true;
    },
    leave(address) {
      const source = sourceOf(address);
      const own = (bySource.get(source) ?? 1) - 1;
      if (own > 0) bySource.set(source, own);
      else bySource.delete(source);
      total -= 1;
    },
    count: () => total,
  };
};
