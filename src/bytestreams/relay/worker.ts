/** The thread of one listener: its relay, told what to do and telling what happens by messages. */
import { parentPort } from 'node:worker_threads';
import type { FromRelay, ToRelay } from './messages.ts';
import { canReuse, openPlainReading, openReusedReading } from './reading.ts';
import { createRelay, type Relay } from './relay.ts';

const TICK_MS = 250;
const REPORT_TICKS = 4;

const say = (message: FromRelay) => parentPort?.postMessage(message);

const obey = async (relay: Relay, message: ToRelay): Promise<void> => {
  switch (message.type) {
    case 'configure':
      return relay.configure(message.bounds, message.rules);
    case 'listen':
      try {
        return say({ type: 'listening', port: await relay.listen(message.host, message.port) });
      } catch (error) {
        return say({ type: 'failed', reason: (error as Error).message }); // of node:net
      }
    case 'unlisten':
      return relay.unlisten();
    case 'activate':
      return say({
        type: 'verdict',
        request: message.request,
        verdict: relay.activate(message),
      });
    case 'kill':
      return relay.kill(message.id, message.reason);
    case 'rate':
      return relay.setRate(message.id, message.bytesPerSecond);
    case 'budget':
      return relay.setBudget(message.key, message.bytes);
    case 'spend':
      return relay.spend(message.key, message.bytes);
    case 'close':
      relay.close();
      // The ends of the streams are told by the events that follow.
      setTimeout(() => {
        say({ type: 'closed' });
        process.exit();
      }, TICK_MS);
      return;
    default:
      message satisfies never;
  }
};

const run = async () => {
  const open = (await canReuse()) ? openReusedReading : openPlainReading;
  const relay = createRelay({
    open,
    // A clock that is set must not end streams for silence.
    now: () => performance.timeOrigin + performance.now(),
    onEnded: (counters, reason) => say({ type: 'ended', counters, reason }),
  });
  let ticks = 0;
  setInterval(() => {
    relay.tick();
    ticks += 1;
    if (ticks % REPORT_TICKS > 0) return;
    say({ type: 'counters', streams: relay.takeCounters(), pending: relay.pending() });
  }, TICK_MS);
  // In order: a listener that is opened must be open before it can be closed.
  let last = Promise.resolve();
  parentPort?.on('message', (message: ToRelay) => {
    last = last.then(() => obey(relay, message));
  });
};

await run();
