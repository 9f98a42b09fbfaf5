/** What the daemon and the thread of one listener say to each other, and what streams are held to. */

/** What connections that belong to no stream yet may cost. */
export type Bounds = {
  maxPending: number;
  /** Of one IPv4 address, or of one IPv6 network of 64 bits. */
  maxPendingPerAddress: number;
  /** From connecting to a whole request. */
  handshakeMs: number;
  /** From the request to the activation. */
  pendingMs: number;
  /** What one connection may send before the activation. */
  maxEarlyBytes: number;
  maxEarlyTotalBytes: number;
  /** An active stream may be silent this long in both directions together. */
  idleMs: number;
};

/** The first that fits decides; `network` is an address or CIDR, or * for all. */
export type AddressRule = { action: 'allow' | 'deny'; network: string };

/** Of one stream, both directions together; null for none. */
export type StreamLimits = {
  bytesPerSecond: number | null;
  maxBytes: number | null;
  maxMs: number | null;
  /** Budgets that the stream shares with others, such as that of a user. */
  budgets: string[];
};

export type EndReason =
  | 'eof'
  | 'reset'
  | 'idle'
  | 'killed'
  | 'quota'
  | 'max_bytes'
  | 'max_time'
  | 'shutdown'
  | 'crash';

/** Of a stream so far: `up` goes from the requester to the target. */
export type Counters = { id: string; up: number; down: number; lastByteAtMs: number };

export type Verdict =
  | { type: 'activated'; hash: string; requester: string; target: string }
  | { type: 'unknown' | 'one leg' | 'active' | 'denied' };

export type Activation = { id: string; hashes: string[]; limits: StreamLimits };

export type ToRelay =
  | { type: 'configure'; bounds: Bounds; rules: AddressRule[] }
  /** On all addresses without a host. */
  | { type: 'listen'; host: string | null; port: number }
  | { type: 'unlisten' }
  | ({ type: 'activate'; request: number } & Activation)
  | { type: 'kill'; id: string; reason: EndReason }
  | { type: 'rate'; id: string; bytesPerSecond: number | null }
  /** What is left of a budget; one that was never set has no end. */
  | { type: 'budget'; key: string; bytes: number | null }
  /** Other listeners have relayed so much of it. */
  | { type: 'spend'; key: string; bytes: number }
  | { type: 'close' };

export type FromRelay =
  | { type: 'listening'; port: number }
  | { type: 'failed'; reason: string }
  | { type: 'verdict'; request: number; verdict: Verdict }
  | { type: 'counters'; streams: Counters[]; pending: number }
  | { type: 'ended'; counters: Counters; reason: EndReason }
  | { type: 'closed' };
