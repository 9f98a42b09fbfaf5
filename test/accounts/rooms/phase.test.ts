/** What messages to a room may do while the account is on its way into it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isIn, isLevel, type Phase, requireJoined } from '../../../src/accounts/rooms/phase.ts';

const PHASES: Phase[] = [
  ...(['away', 'asking', 'joining', 'entered', 'joined'] as const),
  ...(['checking', 'backoff', 'refused', 'left'] as const),
];

test('messages go to a room that is joined, and wait for one that may be', () => {
  const outcomes = PHASES.map((phase) => {
    try {
      requireJoined('r@s', phase, 'banned');
      return 'goes';
    } catch (error) {
      return error instanceof Error ? `${error.name}: ${error.message}` : error;
    }
  });
  const waits = 'RetryError: the room r@s is not joined yet';
  assert.deepEqual(outcomes, [
    ...[waits, waits, waits, waits],
    'goes',
    waits,
    `${waits}: banned`,
    'RejectError: the account is not in the room r@s: banned',
    'RejectError: the account is not in the room r@s: its row is disabled',
  ]);
});

test('one is in a room before all that was missed is read', () => {
  assert.deepEqual(PHASES.filter(isIn), ['entered', 'joined', 'checking']);
  assert.deepEqual(PHASES.filter(isLevel), ['joined', 'checking']);
});
