/** The XMPP accounts: each enabled row whose shard is ours is a link; messages are rows both ways. */

import { DEFAULT_SHARD, shardOf } from '../db/ownership.ts';
import { createQueue, type Unlinked } from '../db/queue.ts';
import { createStates } from '../db/states.ts';
import type { Gateway, GatewayParts } from '../gateway.ts';
import { readBareJid } from '../xmpp/wire/jid.ts';
import { createInbox } from './inbox.ts';
import { createKinds } from './kinds.ts';
import { createLink, type Link, type LinkParts, type TxRow } from './link.ts';
import type { KindParts, PartKind, PartTiming } from './part.ts';
import { createRepeat } from './repeat.ts';
import {
  type Account,
  type AccountState,
  deleteResumption,
  selectAccounts,
  selectResumption,
  selectSecret,
  TX_QUEUE,
  updateOff,
  updateStates,
  upsertResumption,
} from './store.ts';
import { createTurns } from './turns.ts';

const FLUSH_MS = 1_000;

/**
 * The account that sends the rows which name none. While the one that a person chose is disabled they
 * wait for it: no other may speak in its name.
 */
const findDefault = (accounts: readonly Account[]): Account | undefined =>
  accounts.find((account) => account.isDefault) ?? accounts.find((account) => account.enabled);

// Rows that are sent to one recipient keep their order, however the JID is written.
const orderKey = ({ messageTo }: TxRow): string => readBareJid(messageTo) ?? messageTo ?? '';

export const createAccountsGateway = (
  { address, db, ownership, log: parentLog, version }: GatewayParts,
  timing: NonNullable<LinkParts['timing']> & PartTiming = {},
  settings: Pick<KindParts, 'attachmentDir'> = { attachmentDir: null },
): Gateway => {
  const log = parentLog.child({ gateway: 'xmpp' });
  const links = new Map<number, Link>();
  const closing = new Map<number, Promise<void>>();
  /** Shards that are being given up, by their epochs: nothing new is begun for them. */
  const leaving = new Map<number, number>();
  const turns = createTurns();
  let accounts: readonly Account[] = [];
  let defaultAccount: Account | undefined;
  let secret = '';
  let isStopping = false;
  /** Accounts that rows name and that have yet to be looked for, and those that were not found. */
  const doubted = new Set<number>();
  const missing = new Set<number>();

  const epochs = () => ownership.epochs('xmpp');
  const isOurs = (shard: number): boolean => {
    const epoch = epochs().get(shard);
    return epoch !== undefined && epoch !== leaving.get(shard);
  };
  const inbox = createInbox({ address, epochs, log });

  const describeAbsent = (linkId: number | null): string | null => {
    const id = linkId ?? defaultAccount?.id;
    if (id === undefined) return 'no account is enabled to send it';
    const account = accounts.find((known) => known.id === id);
    if (!account) return null;
    if (!account.enabled) return `account ${account.jid} is disabled`;
    return links.get(id)?.restsBecause() ?? `account ${account.jid} is not online yet`;
  };
  const describeUnlinked = (linkId: number | null): Unlinked => {
    const info = describeAbsent(linkId);
    if (info !== null) return { verdict: 'wait', info };
    if (linkId === null || missing.delete(linkId)) {
      return { verdict: 'reject', info: `there is no account ${linkId}` };
    }
    lookAgain(linkId);
    return { verdict: 'wait', info: `there is no account ${linkId} yet` };
  };
  const queue = createQueue<TxRow>({
    address,
    table: TX_QUEUE,
    ownership,
    log,
    orderKey,
    describeUnlinked,
  });
  const kinds = createKinds({
    ...{ address, db, ownership, log, version, describeUnlinked, timing },
    ...settings,
  });
  const queues = [
    { table: TX_QUEUE.name, queue },
    ...kinds.flatMap((kind) => (kind.queue ? [kind.queue] : [])),
  ];
  const resync = () => {
    for (const each of queues) each.queue.resync();
  };

  // A row may come in one transaction with its account, and be seen before it.
  const lookAgain = (id: number) => {
    if (doubted.size === 0) {
      setImmediate(() => {
        readDoubted().catch((err: unknown) => log.debug({ err }, 'accounts not read'));
      });
    }
    doubted.add(id);
  };
  const readDoubted = async () => {
    const ids = [...doubted];
    doubted.clear();
    accounts = await selectAccounts(db);
    for (const id of ids) if (!accounts.some((account) => account.id === id)) missing.add(id);
    resync();
  };

  const states = createStates(
    ({ accountId }) => accountId,
    (batch: AccountState[]) => updateStates(db, batch),
    log,
  );

  const linkParts = (): LinkParts => ({
    db,
    kinds,
    queue,
    inbox,
    log,
    secret: () => secret,
    isFresh: () => ownership.isFresh(),
    async enter(accountId, host) {
      // The same account's last session first says goodbye.
      await closing.get(accountId);
      return turns.enter(host);
    },
    resync,
    report: states.report,
    selectResumption: (accountId) => selectResumption(db, accountId),
    upsertResumption: (accountId, resumption) => upsertResumption(db, accountId, resumption),
    deleteResumption: (accountId) => deleteResumption(db, accountId),
    timing,
  });

  const closeLink = async (id: number, timeoutMs: number) => {
    const link = links.get(id);
    if (!link) return;
    links.delete(id);
    const closed = link.close(timeoutMs);
    closing.set(id, closed);
    await closed.finally(() => closing.delete(id));
    // The account is on again, or another daemon's by now.
    if (links.has(id) || !isOurs(shardOf(id))) return;
    states.report({ accountId: id, state: 'off', info: null, afterMs: null, fullJid: null });
    resync();
  };

  /** Opens, changes and closes links until they are as the rows want them. */
  const matchLinks = (wanted: Map<number, Account>): void => {
    for (const id of links.keys()) {
      if (wanted.has(id)) continue;
      closeLink(id, FLUSH_MS).catch((err: unknown) =>
        log.error({ err, account: id }, 'close failed'),
      );
    }
    for (const [id, account] of wanted) {
      const link = links.get(id);
      if (link) link.change(account);
      else links.set(id, createLink(account, linkParts()));
    }
  };

  const chooseDefault = () => {
    const id = defaultAccount?.id;
    const isServed = id !== undefined && links.has(id) && isOurs(DEFAULT_SHARD);
    setDefault(isServed ? id : null);
  };

  const flushed = () => Promise.all(queues.map((each) => each.queue.flushed(FLUSH_MS)));

  const setDefault = (id: number | null) => {
    for (const each of queues) each.queue.setDefault(id);
  };

  /** Links whose rows of that kind have changed. */
  const syncParts = async (kind: PartKind): Promise<void> => {
    for (const id of await kind.selectBehind(db)) links.get(id)?.sync(kind);
  };
  // Of two at once the one that has read older rows could end last.
  const wakers = kinds.map((kind) => ({ kind, ...createRepeat(() => syncParts(kind), log) }));

  return {
    name: 'xmpp',
    tables: ['xmpp_accounts', 'rowgram_settings'],
    channels: Object.fromEntries(queues.map((each) => [each.table, each.queue.ring])),
    onTableChange(table) {
      for (const each of queues) if (each.table === table) each.queue.recheckHeld();
      for (const { kind, ask } of wakers) if (kind.tables.includes(table)) ask();
    },
    defaultLinkShard: () => (defaultAccount ? shardOf(defaultAccount.id) : null),
    async sync() {
      if (isStopping) return;
      secret = await selectSecret(db);
      accounts = await selectAccounts(db);
      defaultAccount = findDefault(accounts);
      const own = accounts.filter(({ id }) => isOurs(shardOf(id)));
      await updateOff(
        db,
        own.filter(({ enabled }) => !enabled).map(({ id }) => id),
      );
      const wanted = own.filter(({ enabled }) => enabled);
      matchLinks(new Map(wanted.map((account) => [account.id, account])));
      chooseDefault();
      ownership.poke();
      resync();
      for (const { ask } of wakers) ask();
    },
    drop() {
      for (const link of links.values()) link.drop();
      links.clear();
      inbox.clear();
      states.clear();
      turns.clear();
      setDefault(null);
    },
    async release(shard) {
      leaving.set(shard, epochs().get(shard) ?? 0);
      if (shard === DEFAULT_SHARD) setDefault(null);
      const ids = [...links.keys()].filter((id) => shardOf(id) === shard);
      await Promise.all(ids.map((id) => closeLink(id, FLUSH_MS)));
      await flushed();
    },
    async stop(timeoutMs) {
      isStopping = true;
      await Promise.all([...links.keys()].map((id) => closeLink(id, timeoutMs)));
      await inbox.flushed(FLUSH_MS);
      await flushed();
      await states.flushed();
      await Promise.all(queues.map((each) => each.queue.close()));
      await Promise.all(kinds.map((kind) => kind.close?.()));
      await inbox.close();
    },
  };
};
