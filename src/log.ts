/** The daemon's log: one JSON line a fact, fixed words, facts in fields, never a secret. */
import { pino } from 'pino';

export type Log = pino.Logger;

const SECRETS = ['password', 'accPass', 'acc_pass', 'secret', 'token', 'url'];

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
      serializers: { err: pino.stdSerializers.err },
    },
    pino.destination({ dest: destination, sync: true }),
  );
