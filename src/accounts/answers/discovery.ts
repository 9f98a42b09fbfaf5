/** What an account tells of itself (XEP-0030), and the hash of it that its presence carries (XEP-0115). */
import type { Element } from '@xmpp/client';
import { RejectError } from '../../errors.ts';
import { formatCaps, hashCaps } from '../../xmpp/wire/caps.ts';
import { commandsNs } from '../../xmpp/wire/command.ts';
import {
  type DiscoInfo,
  discoInfoNs,
  discoItemsNs,
  formatDiscoInfo,
  formatDiscoItems,
} from '../../xmpp/wire/disco.ts';
import { dataNs } from '../../xmpp/wire/form.ts';
import { findIllegalChar } from '../../xmpp/wire/xml.ts';
import type { Command } from './store.ts';

/** Names the software in the presence: any URI of its own will do (XEP-0115 §4). */
const CAPS_NODE = 'urn:x-rowgram';

type Info = Omit<DiscoInfo, 'node' | 'forms'> & { forms: [] };

const identify = (category: string, type: string, name: string): DiscoInfo['identities'] => [
  { category, type, lang: null, name },
];

/** @param notifyNodes nodes whose events are wanted of contacts (XEP-0163 §4.3) */
export const describeAccount = (
  features: readonly string[],
  notifyNodes: readonly string[],
): Info => {
  const wanted = notifyNodes
    .filter((node) => node !== '' && findIllegalChar(node) === null)
    .map((node) => `${node}+notify`);
  return {
    identities: identify('client', 'bot', 'Rowgram'),
    features: [...new Set([...features, ...wanted])].sort(),
    forms: [],
  };
};

/** What the presence carries, by which others know the answer. */
export const buildCaps = (info: Info): string => formatCaps(CAPS_NODE, hashCaps(info) ?? '');

type Viewed = { info: Info; commands: readonly Command[] };

/** @returns null for a node that there is not, or not for this requester */
const describeNode = (node: string, { info, commands }: Viewed): Info | null => {
  if (node === `${CAPS_NODE}#${hashCaps(info)}`) return info;
  if (node === commandsNs) {
    const identities = identify('automation', 'command-list', 'Commands');
    return { identities, features: [discoInfoNs, discoItemsNs], forms: [] };
  }
  const command = commands.find((known) => known.node === node);
  if (!command) return null;
  const identities = identify('automation', 'command-node', command.name);
  return { identities, features: [commandsNs, dataNs], forms: [] };
};

const notFound = (): RejectError => new RejectError('there is no such node', 'item-not-found');

/**
 * @param viewed the commands are those that the requester may run
 * @throws RejectError for a node that there is not
 */
export const answerInfo = (query: Element, viewed: Viewed): string => {
  const { node = null } = query.attrs;
  const info = node ? describeNode(node, viewed) : viewed.info;
  if (!info) throw notFound();
  return formatDiscoInfo({ node, ...info });
};

/**
 * @param jid the account's full JID
 * @throws RejectError for a node that there is not
 */
export const answerItems = (query: Element, jid: string, { commands, info }: Viewed): string => {
  const { node = null } = query.attrs;
  if (node === commandsNs) {
    const items = commands.map(({ node: own, name }) => ({ jid, node: own, name }));
    return formatDiscoItems({ node, items });
  }
  if (node && !describeNode(node, { info, commands })) throw notFound();
  const hasList = !node && commands.length > 0;
  const items = hasList ? [{ jid, node: commandsNs, name: 'Commands' }] : [];
  return formatDiscoItems({ node, items });
};
