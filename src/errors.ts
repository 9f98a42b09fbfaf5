/** The four verdicts. Whatever is thrown and is none of them is a bug. */

/** It may work later: the row waits and is tried again after `afterMs` milliseconds. */
export class RetryError extends Error {
  override readonly name = 'RetryError';
  readonly afterMs: number;

  constructor(message: string, afterMs: number, options?: ErrorOptions) {
    super(message, options);
    this.afterMs = afterMs;
  }
}

/**
 * Refused for good: the row fails and its info column carries the message.
 * `condition` is the protocol's own word for it, such as `jid-malformed` (RFC 6120 §8.3.3).
 */
export class RejectError extends Error {
  override readonly name = 'RejectError';
  readonly condition: string;

  constructor(message: string, condition: string, options?: ErrorOptions) {
    super(message, options);
    this.condition = condition;
  }
}

/** The peer broke its protocol: an error reply, or the connection closes. `source` names the rule. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly source: string;

  constructor(message: string, source: string, options?: ErrorOptions) {
    super(message, options);
    this.source = source;
  }
}

/** A person must change something: the account rests until its row changes. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** The text of whatever was thrown, for a row's info column or a log line. */
export const errorText = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
