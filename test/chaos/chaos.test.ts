import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findProsody } from '../../src/demo/prosody.ts';
import { runChaos } from './chaos.ts';
import { formatCosts } from './verdict.ts';

const SEED = 20_260_101;
const FAULTS = 60;

const skip = findProsody() === null && 'Prosody is not installed';

test('amid faults of every kind nothing committed is lost, nothing is mixed, little is doubled', {
  skip,
}, async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const said: string[] = [];
  const { costs, violations, totals, daemonLog } = await runChaos({
    faults: FAULTS,
    seed: SEED,
    say: (text) => said.push(text),
  });
  for (const line of formatCosts(costs).split('\n')) t.diagnostic(line);
  t.diagnostic(JSON.stringify(totals));
  assert.deepEqual(violations, [], `${said.join('\n')}\n${daemonLog.slice(-8_000)}`);
  // Without traffic nothing is proved.
  assert.ok(totals.rows > 500 && totals.received > 500 && totals.rolledBack > 50);
});
