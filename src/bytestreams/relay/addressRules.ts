/** Who may connect, by address. */
import { BlockList, isIP } from 'node:net';
import type { AddressRule } from './messages.ts';

/** An address or CIDR as its parts; null for what is neither. */
export const readNetwork = (text: string): { address: string; prefix: number } | null => {
  const [, address = '', length] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) return null;
  const longest = version === 4 ? 32 : 128;
  const prefix = length === undefined ? longest : Number(length);
  return prefix <= longest ? { address, prefix } : null;
};

const compile = (network: string): ((address: string) => boolean) => {
  if (network === '*') return () => true;
  const parts = readNetwork(network);
  if (!parts) return () => false;
  const list = new BlockList();
  list.addSubnet(parts.address, parts.prefix, isIP(parts.address) === 4 ? 'ipv4' : 'ipv6');
  return (address) => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
};

/** The first rule that fits decides; who fits none may. */
export const compileAddressRules = (rules: AddressRule[]): ((address: string) => boolean) => {
  const tests = rules.map(({ action, network }) => ({ action, fits: compile(network) }));
  return (address) => tests.find(({ fits }) => fits(address))?.action !== 'deny';
};
