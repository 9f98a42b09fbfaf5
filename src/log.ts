/** The daemon's log: one JSON line a fact, fixed words, facts in fields, never a secret. */
import { pino } from 'pino';

export type Log = pino.Logger;

const SECRETS = ['password', 'accPass', 'acc_pass', 'secret', 'token', 'url'];

/** What a driver hangs on its errors is left out: a statement's values, a row, an address. */
const serializeError = (error: unknown) => {
  if (!(error instanceof Error)) return String(error);
  const { type, message, stack } = pino.stdSerializers.err(error);
  return { type, message, stack, ...('code' in error && { code: error.code }) };
};

/**
 * @param level trace, debug, info, warn, error or silent
 * @param destination 2 for standard error, where commands keep standard output for their result
 */
export const createLog = (level: string, destination: 1 | 2 = 1): Log =>
  pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '(secret)' },
      serializers: { err: serializeError },
    },
    pino.destination({ dest: destination, sync: true }),
  );
