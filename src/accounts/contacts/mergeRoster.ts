/**
 * Three versions of a roster become one: the contacts that people want, what contacts and server last had in
 * common, and what the server has now. Where both sides changed, the person's change wins.
 */

export type Entry = { name: string | null; groups: readonly string[] };

/** Source: RFC 6121 §2.1.2. */
export type Subscription = 'none' | 'to' | 'from' | 'both';

/** An item as the server has it. */
export type ServerItem = Entry & {
  jid: string;
  subscription: Subscription;
  ask: 'subscribe' | null;
  /** The contact is let in when it asks (RFC 6121 §3.4). */
  approved: boolean;
};

/** A row that can be honoured: its JID is in the normal form, and no other row has it. */
export type Contact = Entry & {
  id: number;
  jid: string;
  subscribe: boolean;
  allow: boolean | null;
  /** A person has inserted or changed it, and that is not dealt with yet. */
  isPending: boolean;
  /** As last observed. */
  subscription: Subscription;
  ask: 'subscribe' | null;
  isRefused: boolean;
};

export type CommonItem = Entry & { jid: string };

/** What becomes of one JID. The common version is then `contact`, but for what `todo` has yet to make so. */
export type Merged = {
  jid: string;
  /** The contact as it should be; null for none. Without an id it is to be inserted. */
  contact: (Omit<Contact, 'id'> & { id: number | null }) | null;
  /** What the server has now. */
  item: ServerItem | null;
  /** What the server is to be made to have. */
  todo: 'set' | 'remove' | null;
};

/** Groups are a set (RFC 6121 §2.1.2.5), and a server may keep an empty name for none. */
export const normalizeEntry = ({ name, groups }: Entry): Entry => ({
  name: name || null,
  groups: [...new Set(groups)].filter((group) => group !== '').sort(),
});

export const isSameEntry = (a: Entry, b: Entry): boolean => {
  const [one, other] = [normalizeEntry(a), normalizeEntry(b)];
  return (
    one.name === other.name &&
    one.groups.length === other.groups.length &&
    one.groups.every((group, index) => group === other.groups[index])
  );
};

type Bond = Pick<Contact, 'subscription' | 'ask'>;

/** Whether the contact shows its presence, or has been asked to. */
export const isSubscribed = ({ subscription, ask }: Bond): boolean =>
  subscription === 'to' || subscription === 'both' || ask !== null;

const NO_BOND = { subscription: 'none', ask: null } as const;

/** Takes over what became of the subscription: asked for elsewhere, or refused, withdrawn, given up. */
const observe = (contact: Contact, item: ServerItem | null): Contact => {
  const { subscription, ask } = item ?? NO_BOND;
  const [was, is] = [isSubscribed(contact), isSubscribed({ subscription, ask })];
  return {
    ...contact,
    subscription,
    ask,
    // What a person has just decided is not decided by what happened before.
    subscribe: contact.subscribe || (!contact.isPending && is && !was),
    isRefused: !is && (contact.isRefused || (was && contact.subscribe && !contact.isPending)),
  };
};

const adopt = (item: ServerItem): Merged['contact'] => ({
  ...item,
  id: null,
  // Nothing is asked for anew.
  subscribe: isSubscribed(item),
  allow: null,
  isPending: false,
  isRefused: false,
});

const mergeKnown = (contact: Contact, common: CommonItem | null, item: ServerItem): Merged => {
  const { jid } = item;
  const isChanged = common === null || !isSameEntry(contact, common);
  const observed = observe(contact, item);
  if (isSameEntry(contact, item)) return { jid, contact: observed, item, todo: null };
  if (isChanged) return { jid, contact: observed, item, todo: 'set' };
  const { name, groups } = item;
  return { jid, contact: { ...observed, name, groups }, item, todo: null };
};

/** One JID that at least one version has. */
export const mergeItem = (
  jid: string,
  contact: Contact | null,
  common: CommonItem | null,
  item: ServerItem | null,
): Merged => {
  if (contact && item) return mergeKnown(contact, common, item);
  if (contact) {
    const isChanged = common === null || contact.isPending || !isSameEntry(contact, common);
    // Removed by another client, and nobody here has changed it.
    if (!isChanged) return { jid, contact: null, item, todo: null };
    return { jid, contact: observe(contact, null), item, todo: 'set' };
  }
  if (common) return { jid, contact: null, item, todo: item ? 'remove' : null };
  return { jid, contact: item && adopt(item), item, todo: null };
};

const byJid = <T extends { jid: string }>(list: readonly T[]): Map<string, T> =>
  new Map(list.map((each) => [each.jid, each]));

/** @param server all that the server has now */
export const mergeRoster = (
  contacts: readonly Contact[],
  items: readonly CommonItem[],
  server: readonly ServerItem[],
): Merged[] => {
  const [wanted, common, present] = [byJid(contacts), byJid(items), byJid(server)];
  return [...new Set([...wanted.keys(), ...common.keys(), ...present.keys()])].map((jid) =>
    mergeItem(jid, wanted.get(jid) ?? null, common.get(jid) ?? null, present.get(jid) ?? null),
  );
};
