/** The queue of messages to send keeps to the contract of all queues. */
import { TX_QUEUE } from '../../src/accounts/store.ts';
import type { QueueRow } from '../../src/db/linkBuffer.ts';
import { queueContract } from '../contracts/queue.ts';

type Row = QueueRow & { messageTo: string | null };

queueContract<Row>({
  table: TX_QUEUE,
  orderKey: ({ messageTo }) => messageTo ?? '',
  keyColumn: 'message_to',
  keyOf: (number) => `user${number}@example.test`,
});
