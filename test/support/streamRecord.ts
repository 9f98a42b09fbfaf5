/** A stream as the ledger has it, for tests of what is written. */
import { randomUUID } from 'node:crypto';
import type { StreamRecord } from '../../src/bytestreams/store.ts';

export const PROXY = 'proxy.example.org';
export const instance = randomUUID();

export const record = (more: Partial<StreamRecord> = {}): StreamRecord => ({
  id: randomUUID(),
  proxy: PROXY,
  instance,
  sid: 's',
  hash: 'h',
  requester: 'a@example.org/r',
  target: 'b@example.org/r',
  requester_address: '192.0.2.1',
  target_address: '2001:db8::1',
  rate_limit: null,
  bytes_up: 0,
  bytes_down: 0,
  activated_at: new Date().toISOString(),
  last_byte_at: new Date().toISOString(),
  ended_at: null,
  reason: null,
  jid: 'a@example.org',
  domain: 'example.org',
  ...more,
});
