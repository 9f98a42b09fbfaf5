/** Where the server of a domain may be reached, in the order to try (RFC 2782, XEP-0368). */
import { lookup, type SrvRecord } from 'node:dns';
import { Resolver as SrvResolver } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { domainToASCII } from 'node:url';
import { ConfigError } from '../errors.ts';

export type TlsMode = 'auto' | 'starttls' | 'direct' | 'none';

/** How a connection to it starts: in clear and then STARTTLS, as TLS, or in clear for good. */
export type Opening = Exclude<TlsMode, 'auto'>;
export type Candidate = { host: string; port: number; opening: Opening };

export type Resolver = {
  /** Rejects when there is none, and soon after the signal aborts. */
  resolveSrv(name: string, signal: AbortSignal): Promise<SrvRecord[]>;
  lookup: LookupFunction;
};

type Place = {
  domain: string;
  host: string;
  port: number;
  tls: TlsMode;
  /** Where the server wants a stream to be resumed (XEP-0198 §5), to be tried first; null for nowhere. */
  location: string | null;
};
type Service = { name: string; opening: Opening };
type Offer = SrvRecord & { opening: Opening };

const maxCandidates = 8;

export const systemResolver: Resolver = {
  async resolveSrv(name, signal) {
    const resolver = new SrvResolver({ timeout: 2_000, tries: 2 });
    const cancel = () => resolver.cancel();
    signal.addEventListener('abort', cancel);
    try {
      return await resolver.resolveSrv(name);
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  },
  lookup,
};

/** The name that DNS and certificates know a domain by, or its IP address without brackets. */
export const readServerName = (domain: string): string => {
  const address = domain.replace(/^\[(.*)\]$/, '$1');
  if (isIP(address) !== 0) return address;
  const name = domainToASCII(domain);
  if (name === '') throw new ConfigError(`${domain} is not a domain name`);
  return name;
};

const findServices = (tls: TlsMode): Service[] => {
  const direct: Service = { name: '_xmpps-client._tcp', opening: 'direct' };
  const starttls: Service = { name: '_xmpp-client._tcp', opening: 'starttls' };
  switch (tls) {
    case 'auto':
      return [direct, starttls];
    case 'direct':
      return [direct];
    case 'starttls':
      return [starttls];
    case 'none':
      return [{ ...starttls, opening: 'none' }];
    default:
      return tls satisfies never;
  }
};

/** Unweighted records stand first, so that they have a small chance against weighted ones. */
const takeOne = (offers: Offer[], random: () => number): Offer[] => {
  const ordered = offers.toSorted((a, b) => a.weight - b.weight);
  const total = ordered.reduce((sum, { weight }) => sum + weight, 0);
  let left = Math.floor(random() * (total + 1));
  const index = ordered.findIndex(({ weight }) => {
    left -= weight;
    return left <= 0;
  });
  return [...ordered.splice(index, 1), ...ordered];
};

const orderByWeight = (offers: Offer[], random: () => number): Offer[] => {
  const [first, ...rest] = takeOne(offers, random);
  return first === undefined ? [] : [first, ...orderByWeight(rest, random)];
};

/**
 * Puts records in the order to try: lower priority first, among equals by lot, weights counting.
 *
 * @param random a number from 0 up to but not including 1
 */
export const orderOffers = (offers: Offer[], random: () => number): Offer[] => {
  const groups = Map.groupBy(offers, ({ priority }) => priority);
  const priorities = [...groups.keys()].sort((a, b) => a - b);
  return priorities.flatMap((priority) => orderByWeight(groups.get(priority) ?? [], random));
};

// A lookup that fails is as good as none: the fallback is tried (RFC 6120 §3.2.1).
const queryService = async (
  { name, opening }: Service,
  domain: string,
  resolver: Resolver,
  signal: AbortSignal,
): Promise<Offer[]> => {
  const records = await resolver.resolveSrv(`${name}.${domain}`, signal).catch(() => []);
  return records.map((record) => ({ ...record, opening }));
};

// The root as target says that the service is decidedly not there (RFC 2782).
const isRefusal = ({ name }: Offer): boolean => name === '' || name === '.';

const findFallback = (name: string, { domain, port, tls }: Place, offers: Offer[]): Candidate => {
  const opening = tls === 'auto' ? 'starttls' : tls;
  if (!offers.some((offer) => isRefusal(offer) && offer.opening === opening)) {
    return { host: name, port, opening };
  }
  throw new ConfigError(`the DNS of ${domain} says that it has no XMPP server for clients`);
};

/** @returns null for what is no host with or without a port, an IPv6 address in brackets */
const readLocation = (location: string | null, { port, tls }: Place): Candidate | null => {
  const [, bracketed, name, ownPort] =
    /^(?:\[([\da-f:.]+)\]|([^\s:[\]/]+))(?::(\d{1,5}))?$/i.exec(location ?? '') ?? [];
  const host = bracketed ?? name;
  const at = ownPort === undefined ? port : Number(ownPort);
  if (host === undefined || at < 1 || at > 65_535) return null;
  return { host, port: at, opening: tls === 'auto' ? 'starttls' : tls };
};

/**
 * Finds the addresses to try: where a stream is to be resumed; then the given host, or else those in DNS,
 * or else the domain itself.
 *
 * @throws ConfigError when DNS says that there is no such service
 */
export const findCandidates = async (
  place: Place,
  resolver: Resolver,
  signal: AbortSignal,
): Promise<Candidate[]> => {
  const preferred = readLocation(place.location, place);
  const others = await findUsual(place, resolver, signal);
  return preferred ? [preferred, ...others] : others;
};

const findUsual = async (
  place: Place,
  resolver: Resolver,
  signal: AbortSignal,
): Promise<Candidate[]> => {
  const name = readServerName(place.domain);
  const host = place.host === '' && isIP(name) !== 0 ? name : place.host;
  if (host !== '') return [findFallback(host, place, [])];
  const queries = findServices(place.tls).map((service) =>
    queryService(service, name, resolver, signal),
  );
  const offers = (await Promise.all(queries)).flat();
  const usable = offers.filter((offer) => !isRefusal(offer));
  if (usable.length === 0) return [findFallback(name, place, offers)];
  return orderOffers(usable, Math.random)
    .slice(0, maxCandidates)
    .map(({ name: target, port, opening }) => ({ host: target, port, opening }));
};
