/** Our own queue, read as the daemon reads it, by a link that sends nowhere. */
import type { TxRow } from '../../src/accounts/link.ts';
import { TX_QUEUE } from '../../src/accounts/store.ts';
import { migrate } from '../../src/db/migrate.ts';
import { createQueue, type Link } from '../../src/db/queue.ts';
import { type Gateway, type GatewayParts, startGateways } from '../../src/gateway.ts';
import { createLog } from '../../src/log.ts';
import { openClients } from './clients.ts';
import type { Engine } from './engine.ts';

/** The link that the rows name. */
export const LINK_ID = 1;

const TAKE_ROWS = 500;

const createPump = (onStart: (key: number) => void) => (link: Link<TxRow>) => {
  for (let rows = link.take(TAKE_ROWS); rows.length > 0; rows = link.take(TAKE_ROWS)) {
    for (const row of rows) {
      onStart(Number(row.messageBody));
      link.settle(row, { state: 'submitted', info: null, stanzaId: `${row.id}` });
    }
  }
};

const createNoopGateway = (parts: GatewayParts, onStart: (key: number) => void): Gateway => {
  const queue = createQueue<TxRow>({
    ...parts,
    table: TX_QUEUE,
    orderKey: ({ messageTo }) => messageTo ?? '',
    describeUnlinked: () => ({ verdict: 'wait', info: 'of no link' }),
  });
  const pump = createPump(onStart);
  const link = queue.openLink(LINK_ID, () => pump(link));
  return {
    name: 'xmpp',
    tables: [],
    onTableChange: () => {},
    channels: { xmpp_tx_queue: queue.ring },
    defaultLinkShard: () => null,
    sync: async () => queue.resync(),
    drop: () => {},
    release: async () => {},
    async stop(timeoutMs) {
      await queue.flushed(timeoutMs);
      await queue.close();
    },
  };
};

export const rowgram: Engine = {
  name: 'rowgram',
  async install(address) {
    await migrate(address);
  },
  async fill(client, rows) {
    await client.query(
      `insert into xmpp_tx_queue (account_id, message_to, message_body)
      select ${LINK_ID}, 'bob@localhost', i from generate_series(1, $1::integer) i`,
      [rows],
    );
  },
  openProducers: (address, count) =>
    openClients(
      address,
      count,
      `insert into xmpp_tx_queue (account_id, message_to, message_body)
      values (${LINK_ID}, 'bob@localhost', $1)`,
    ),
  isEmpty: 'select not exists (select from xmpp_tx_queue where not settled) as "isEmpty"',
  async consume(address, _aim, onStart) {
    const log = createLog('silent', 2);
    const create = [(parts: GatewayParts) => createNoopGateway(parts, onStart)];
    const never = new AbortController().signal;
    return startGateways({ address, version: 'bench', log, create }, never);
  },
};
