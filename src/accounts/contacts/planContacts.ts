/** From the rows of an account to what is written and what is asked of the server. */
import { errorText } from '../../errors.ts';
import { formatJid, parseJid, readBareJid } from '../../xmpp/wire/jid.ts';
import {
  type CommonItem,
  type Contact,
  isSameEntry,
  isSubscribed,
  mergeRoster,
  type ServerItem,
} from './mergeRoster.ts';
import type { ContactChange, ContactRow, ItemChange, ItemRow } from './store.ts';

/** A contact with its row's own spelling, after the merge. */
export type Planned = {
  row: ContactRow;
  contact: Contact;
  approved: boolean;
  /** Its name and groups are to be set at the server. */
  isSet: boolean;
};

export type Plan = {
  /** Rows that cannot be honoured, with the reason. */
  refused: { row: ContactRow; info: string }[];
  changes: { contacts: ContactChange[]; deleted: number[]; items: ItemChange[] };
  contacts: Planned[];
  /** What a person deleted. */
  removed: CommonItem[];
  /** Who sees the account's presence. */
  watchers: Set<string>;
};

/** @throws RejectError with the reason why it can be no contact */
const readContactJid = (text: string, ownJid: string): string => {
  const jid = parseJid(text.trim());
  const bare = formatJid({ ...jid, resource: null });
  if (jid.resource !== null) throw new Error(`a contact has no resource: ${bare} has none`);
  if (bare === ownJid) throw new Error("it is the account's own JID");
  return bare;
};

type Valid = { row: ContactRow; contact: Contact };

const readContacts = (rows: readonly ContactRow[], ownJid: string) => {
  const valid = new Map<string, Valid>();
  const refused: Plan['refused'] = [];
  for (const row of rows) {
    try {
      const jid = readContactJid(row.jid, ownJid);
      const first = valid.get(jid)?.row;
      if (first) throw new Error(`row ${first.id} has the same JID: ${first.jid}`);
      valid.set(jid, { row, contact: { ...row, jid, isPending: row.state === 'pending' } });
    } catch (error) {
      refused.push({ row, info: `jid: ${errorText(error)}` });
    }
  }
  return { valid, refused };
};

/** What the server has of it, as far as it was told. */
const readPresent = (item: ItemRow, known: Contact | undefined): ServerItem | null => {
  if (item.pushed) return item.pushed.item;
  if (!item.isCommon) return null;
  const { subscription = 'none', ask = null } = known ?? {};
  return { ...item, subscription, ask };
};

const hasChanged = (row: ContactRow, contact: ContactChange): boolean =>
  !isSameEntry(row, contact) ||
  row.subscribe !== contact.subscribe ||
  row.subscription !== contact.subscription ||
  row.ask !== contact.ask ||
  row.isRefused !== contact.isRefused;

/** The JID in the form in which it may be compared; the text itself for what is none. */
export const normalizeJid = (text: string): string => readBareJid(text.trim()) ?? text;

/** @param refusals who has said no and is not known in the rows to have */
export const planContacts = (
  rows: readonly ContactRow[],
  items: readonly ItemRow[],
  ownJid: string,
  refusals: ReadonlySet<string>,
): Plan => {
  const { valid, refused } = readContacts(rows, ownJid);
  const itemOf = new Map(items.map((item) => [item.jid, item]));
  const merged = mergeRoster(
    [...valid.values()].map(({ contact }) => contact),
    items.filter(({ isCommon }) => isCommon),
    items.flatMap((item) => readPresent(item, valid.get(item.jid)?.contact) ?? []),
  );
  const plan: Plan = {
    refused,
    changes: { contacts: [], deleted: [], items: [] },
    contacts: [],
    removed: [],
    watchers: new Set(),
  };
  for (const { jid, contact, item, todo } of merged) {
    const news = itemOf.get(jid);
    if (news?.pushed) plan.changes.items.push({ jid, item, pushed: news.pushed });
    if (item?.subscription === 'from' || item?.subscription === 'both') plan.watchers.add(jid);
    if (todo === 'remove' && item) plan.removed.push(item);
    const known = valid.get(jid);
    if (!known) {
      if (contact) plan.changes.contacts.push({ ...contact, id: null });
      continue;
    }
    const { row } = known;
    if (!contact) {
      plan.changes.deleted.push(row.id);
      continue;
    }
    const isRefused =
      contact.isRefused ||
      (refusals.has(jid) && contact.subscribe && !contact.isPending && !isSubscribed(contact));
    const change = { ...contact, id: row.id, isRefused };
    if (hasChanged(row, change)) plan.changes.contacts.push(change);
    plan.contacts.push({
      row,
      contact: change,
      approved: item?.approved ?? false,
      isSet: todo === 'set' && row.state !== 'failed',
    });
  }
  return plan;
};
