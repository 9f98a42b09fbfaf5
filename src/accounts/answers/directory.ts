/** Who answers what: the rows of handlers and commands, and which of them are meant. */
import { bareJid, parseJid, readJid } from '../../xmpp/wire/jid.ts';
import type { Command, Handler } from './store.ts';

export type Directory = { handlers: readonly Handler[]; commands: readonly Command[] };

/** The account's own row comes before one for all. */
const findOwn = <Row extends { accountId: number | null }>(
  rows: readonly Row[],
  accountId: number,
): Row | null =>
  rows.find((row) => row.accountId === accountId) ??
  rows.find((row) => row.accountId === null) ??
  null;

export const findHandler = (
  { handlers }: Directory,
  accountId: number,
  namespace: string,
): Handler | null =>
  findOwn(
    handlers.filter((handler) => handler.namespace === namespace),
    accountId,
  );

export const findCommand = (
  { commands }: Directory,
  accountId: number,
  node: string,
): Command | null =>
  findOwn(
    commands.filter((command) => command.node === node),
    accountId,
  );

/**
 * @param allowed bare JIDs, domains or `*`; null for the account itself
 * @param from who asks, with or without a resource
 */
export const isAllowed = (
  allowed: readonly string[] | null,
  from: string,
  ownJid: string,
): boolean => {
  const bare = bareJid(from);
  if (allowed === null) return bare === ownJid;
  const { domain } = parseJid(bare);
  return allowed.some((entry) => {
    if (entry.trim() === '*') return true;
    const jid = readJid(entry.trim());
    return jid !== null && (jid === bare || jid === domain);
  });
};

/** The commands that one may run, in the order of their names. */
export const listCommands = (
  directory: Directory,
  accountId: number,
  from: string,
  ownJid: string,
): Command[] => {
  const nodes = [...new Set(directory.commands.map(({ node }) => node))];
  return nodes
    .flatMap((node) => findCommand(directory, accountId, node) ?? [])
    .filter(({ allowed }) => isAllowed(allowed, from, ownJid))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
};
