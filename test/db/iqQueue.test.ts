/** The queue of requests keeps to the contract of all queues. */
import { IQ_QUEUE } from '../../src/accounts/requests/store.ts';
import type { QueueRow } from '../../src/db/linkBuffer.ts';
import { queueContract } from '../contracts/queue.ts';

type Row = QueueRow & { payload: string };

queueContract<Row>({
  table: IQ_QUEUE,
  orderKey: ({ payload }) => payload,
  keyColumn: 'payload',
  keyOf: (number) => `<ping xmlns='urn:xmpp:ping' number='${number}'/>`,
});
