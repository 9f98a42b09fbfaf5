/** The daemon as a process of its own, to be killed; it bears silences for less long than the real one. */
import { createLog } from '../../src/log.ts';
import { QUICK, startDaemon } from '../support/daemon.ts';

const url = process.env.DATABASE_URL;
if (!url) throw new Error('DATABASE_URL is not set');
const daemon = await startDaemon({ url, schema: 'public' }, QUICK, createLog('info'));
process.once('SIGTERM', () => {
  daemon.stop().then(() => process.exit(0));
});
