/** The daemon of the component tests as a process of its own, to be killed. */
import { startComponentDaemon } from '../support/componentDaemon.ts';

const url = process.env.DATABASE_URL;
if (!url) throw new Error('DATABASE_URL is not set');
await startComponentDaemon({ url, schema: 'public' }, () => ({}), 'info');
