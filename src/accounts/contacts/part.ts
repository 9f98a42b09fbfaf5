/** The contacts of an account, kept the same as its roster at the server. */
import type { Element } from '@xmpp/client';
import { errorText, RejectError, RetryError } from '../../errors.ts';
import { bareJid, readJid } from '../../xmpp/wire/jid.ts';
import {
  formatRosterRemove,
  formatRosterSet,
  isRosterPush,
  ROSTER_QUERY,
  type RosterItem,
  readRoster,
  readRosterPush,
} from '../../xmpp/wire/roster.ts';
import type { Line, Part, PartKind, Taken } from '../part.ts';
import { type CommonItem, isSubscribed } from './mergeRoster.ts';
import { normalizeJid, type Plan, type Planned, planContacts } from './planContacts.ts';
import { buildPushAnswer, buildSubscription } from './stanzas.ts';
import {
  deleteCommon,
  deleteRequest,
  insertUndeleted,
  lockContacts,
  selectAllowed,
  selectBehind,
  selectItems,
  selectOpenRequests,
  updateAnswered,
  updateContactStates,
  upsertCommon,
  upsertRequest,
  writeMerge,
  writePush,
  writeRoster,
} from './store.ts';
import {
  ANSWERS,
  decideRequest,
  decideSubscriptions,
  type SubscriptionStanza,
  type Verdict,
} from './subscriptions.ts';

const ROSTER_MS = 10_000;
const REFUSED =
  'it does not show its presence: it refused or no longer does, or another client of the account gave it up; an UPDATE asks again';

/** @param unread the accounts whose roster is wanted and was not read yet */
const createContacts = (line: Line, unread: Set<number>): Part => {
  const { accountId, db, log } = line;
  let stream = 0;
  let isOnline = false;
  /** Whether the table knows what the server has. */
  let isRead = false;
  /** What is pushed while the roster is asked for: it is newer than the answer. */
  let news: Map<string, RosterItem | null> | null = null;
  /** What was sent on this stream for a contact, whatever came of it. */
  const tried = new Map<string, Set<SubscriptionStanza>>();
  /** Who said no, until a row says so. */
  const refusals = new Set<string>();
  let last: Promise<void> = Promise.resolve();
  let isQueued = false;

  const wantsRoster = () => line.account().priority !== null;

  const store = (write: NonNullable<Taken['write']>) =>
    new Promise<void>((resolve) => line.store({ write, onStored: resolve }));

  /** Before anything else can be stored, so that what is pushed from now on comes after it. */
  const storeRoster = (answer: Element, pushed: Map<string, RosterItem | null>) => {
    const roster = readRoster(answer);
    if (!roster) return Promise.resolve();
    const items = new Map<string, RosterItem | null>(roster.map((item) => [item.jid, item]));
    for (const [jid, item] of pushed) items.set(jid, item);
    items.delete(line.ownJid());
    const present = [...items.values()].filter((item) => item !== null);
    return store((client) => writeRoster(client, accountId, line.ownJid(), present));
  };

  const read = async () => {
    const own = stream;
    const pushed = new Map<string, RosterItem | null>();
    unread.add(accountId);
    news = pushed;
    let stored: Promise<void>;
    try {
      const question = { to: null, type: 'get', payload: ROSTER_QUERY } as const;
      const answer = await line.request({ ...question, timeoutMs: ROSTER_MS });
      if (own !== stream) throw new RetryError('the stream was lost', 0);
      stored = storeRoster(answer, pushed);
    } finally {
      if (news === pushed) news = null;
    }
    await stored;
    if (own !== stream) throw new RetryError('the stream was lost', 0);
    isRead = true;
    unread.delete(accountId);
  };

  const request = (payload: string) => line.request({ to: null, type: 'set', payload });

  const remove = async (item: CommonItem) => {
    const { jid } = item;
    try {
      await request(formatRosterRemove(jid));
      await deleteCommon(db, accountId, jid);
    } catch (error) {
      if (!(error instanceof RejectError)) throw error;
      if (error.condition === 'item-not-found') await deleteCommon(db, accountId, jid);
      else {
        const info = `the server did not remove it: ${error.message}`;
        await insertUndeleted(db, accountId, { ...item, info });
      }
    }
  };

  const requireOnline = () => {
    if (!isOnline) throw new RetryError('the account is not online', 0);
  };

  const send = (jid: string, stanza: SubscriptionStanza) => {
    const sent = tried.get(jid) ?? new Set();
    tried.set(jid, sent.add(stanza));
    line.send(buildSubscription(jid, stanza));
  };

  /** @returns why the server does not have it */
  const setItem = async ({ contact }: Planned): Promise<string | null> => {
    try {
      await request(formatRosterSet(contact));
      await upsertCommon(db, accountId, line.ownJid(), contact);
      return null;
    } catch (error) {
      if (error instanceof RejectError) return `not stored: ${errorText(error)}`;
      throw error;
    }
  };

  const matchContact = async (planned: Planned) => {
    const { row, contact, approved, isSet } = planned;
    const { jid, isPending } = contact;
    const failure = isSet ? await setItem(planned) : null;
    if (isPending) {
      tried.delete(jid);
      refusals.delete(jid);
    }
    const isGood = failure === null && row.state !== 'failed';
    // What is sent now would be lost, and taken for sent.
    requireOnline();
    if (isGood) {
      const stanzas = decideSubscriptions(contact, { approved }, tried.get(jid) ?? new Set());
      for (const stanza of stanzas) send(jid, stanza);
    }
    if (isSubscribed(contact) || contact.isRefused) refusals.delete(jid);
    if (!isPending && failure === null && row.isRefused === contact.isRefused) return [];
    const info = failure ?? (contact.isRefused ? REFUSED : null);
    const newState = isGood ? 'stored' : 'failed';
    return [{ ...contact, jid: row.jid, newState, info } as const];
  };

  /** Requests that a person has answered, here or in another client, or by what a contact's row allows. */
  const answerRequests = async ({ contacts, watchers }: Plan) => {
    const contactOf = new Map(contacts.map(({ contact }) => [contact.jid, contact]));
    const answers: { jid: string; answer: Verdict }[] = [];
    for (const { jid, answer: given } of await selectOpenRequests(db, accountId)) {
      const answer = given ?? decideRequest(contactOf.get(jid)?.allow ?? null, 'ask');
      const known = answer ?? (watchers.has(jid) ? 'accept' : null);
      if (known === null) continue;
      const stanza = ANSWERS[known];
      requireOnline();
      if (answer !== null && !tried.get(jid)?.has(stanza)) send(jid, stanza);
      answers.push({ jid, answer: known });
    }
    await updateAnswered(db, accountId, answers);
  };

  const merge = (): Promise<Plan> =>
    db.transaction(async (tx) => {
      const rows = await lockContacts(tx, accountId);
      const items = await selectItems(tx, accountId);
      const ownJid = line.ownJid();
      const plan = planContacts(rows, items, ownJid, refusals);
      await writeMerge(tx, accountId, ownJid, plan.changes);
      return plan;
    });

  const match = async () => {
    isQueued = false;
    if (!isOnline || !isRead || !wantsRoster()) return;
    const plan = await merge();
    const invalid = plan.refused.map(
      ({ row, info }) => ({ ...row, newState: 'failed', info }) as const,
    );
    await updateContactStates(db, invalid);
    for (const item of plan.removed) await remove(item);
    // A contact that cannot be matched now does not undo what is known of those before it.
    for (const planned of plan.contacts) await updateContactStates(db, await matchContact(planned));
    await answerRequests(plan);
  };

  const matchInTurn = (): Promise<void> => {
    const turn = last.catch(() => {}).then(match);
    last = turn;
    return turn;
  };

  /** What has come in is merged. */
  const wake = () => {
    if (isQueued || !isOnline) return;
    isQueued = true;
    matchInTurn().catch((error: unknown) =>
      log.debug({ reason: errorText(error) }, 'contacts not matched'),
    );
  };

  const receivePush = (stanza: Element): Taken | null => {
    const { from, id = '' } = stanza.attrs;
    const ownJid = line.ownJid();
    if (from !== undefined && readJid(from) !== ownJid) {
      line.distrust(stanza, 'a roster push of another');
      return null;
    }
    const push = readRosterPush(stanza);
    if (!push) return null;
    const { jid, item } = push;
    const onStored = () => {
      line.send(buildPushAnswer(id));
      wake();
    };
    if (jid === ownJid) return { onStored };
    news?.set(jid, item);
    return { write: (client) => writePush(client, accountId, ownJid, jid, item), onStored };
  };

  const receiveRequest = (jid: string, status: string | null): Taken => {
    let answer: Verdict | null = null;
    return {
      async write(client) {
        const rows = await selectAllowed(client, accountId);
        const allow = rows.find((row) => normalizeJid(row.jid) === jid)?.allow ?? null;
        answer = decideRequest(allow, line.account().subscriptionPolicy);
        await upsertRequest(client, accountId, { jid, status, answer });
      },
      onStored() {
        log.info({ peer: jid, answer }, 'asked for a subscription');
        if (answer) send(jid, ANSWERS[answer]);
        else wake();
      },
    };
  };

  const receiveSubscription = (stanza: Element): Taken | null => {
    const { from, type } = stanza.attrs;
    const address = readJid(from);
    const jid = address === null ? null : bareJid(address);
    if (jid === null || jid === line.ownJid()) return null;
    switch (type) {
      case 'subscribe':
        return receiveRequest(jid, stanza.getChildText('status'));
      case 'unsubscribe':
        return { write: (client) => deleteRequest(client, accountId, jid) };
      case 'subscribed':
        refusals.delete(jid);
        return {};
      case 'unsubscribed':
        refusals.add(jid);
        wake();
        return {};
      default:
        return null;
    }
  };

  return {
    async begin() {
      stream += 1;
      isRead = false;
      tried.clear();
      if (wantsRoster()) await read();
    },
    online() {
      isOnline = true;
    },
    receive(stanza) {
      if (isRosterPush(stanza)) return receivePush(stanza);
      return stanza.name === 'presence' ? receiveSubscription(stanza) : null;
    },
    async sync() {
      if (!wantsRoster()) unread.delete(accountId);
      else if (!isRead) await read();
      await matchInTurn();
    },
    offline() {
      isOnline = false;
      unread.delete(accountId);
    },
    close() {
      unread.delete(accountId);
    },
  };
};

export const createContactsKind = (): PartKind => {
  const unread = new Set<number>();
  return {
    tables: ['xmpp_contacts', 'xmpp_subscription_requests'],
    selectBehind: async (db) => [...new Set([...(await selectBehind(db)), ...unread])],
    create: (line) => createContacts(line, unread),
  };
};
