/** What is sent so that the server's subscriptions are those of the row, and what those get who ask. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decideRequest,
  decideSubscriptions,
  type SubscriptionStanza,
} from '../../../src/accounts/contacts/subscriptions.ts';

type Wish = Parameters<typeof decideSubscriptions>[0];

const decide = (
  wish: Partial<Wish>,
  { approved = false, tried = [] as SubscriptionStanza[] } = {},
): SubscriptionStanza[] =>
  decideSubscriptions(
    {
      subscribe: false,
      allow: null,
      subscription: 'none',
      ask: null,
      isRefused: false,
      isPending: false,
      ...wish,
    },
    { approved },
    new Set(tried),
  );

test('a contact is asked once, and not again when it has refused', () => {
  assert.deepEqual(decide({ subscribe: true }), ['subscribe']);
  assert.deepEqual(decide({ subscribe: true, subscription: 'from' }), ['subscribe']);
  assert.deepEqual(decide({ subscribe: true }, { tried: ['subscribe'] }), []);
  assert.deepEqual(decide({ subscribe: true, ask: 'subscribe' }), []);
  assert.deepEqual(decide({ subscribe: true, isRefused: true }), []);
  for (const subscription of ['to', 'both'] as const) {
    assert.deepEqual(decide({ subscribe: true, subscription }), []);
    assert.deepEqual(decide({ subscription }), ['unsubscribe']);
  }
  assert.deepEqual(decide({ ask: 'subscribe' }), ['unsubscribe']);
  assert.deepEqual(decide({ ask: 'subscribe' }, { tried: ['unsubscribe'] }), []);
  assert.deepEqual(decide({}), []);
});

test('who may see the presence is granted it, also in advance, or has it taken back', () => {
  assert.deepEqual(decide({ allow: true }), ['subscribed']);
  assert.deepEqual(decide({ allow: true }, { approved: true }), []);
  assert.deepEqual(decide({ allow: true }, { tried: ['subscribed'] }), []);
  assert.deepEqual(decide({ allow: false }), []);
  assert.deepEqual(decide({ allow: false, isPending: true }), ['unsubscribed']);
  assert.deepEqual(decide({ allow: false }, { approved: true }), ['unsubscribed']);
  for (const subscription of ['from', 'both'] as const) {
    const subscribe = subscription === 'both';
    assert.deepEqual(decide({ subscribe, allow: true, subscription }), []);
    assert.deepEqual(decide({ subscribe, allow: false, subscription }), ['unsubscribed']);
    assert.deepEqual(decide({ subscribe, subscription }), []);
  }
});

test('a request is answered by the contact, else by the policy, else by a person', () => {
  for (const policy of ['ask', 'accept', 'reject'] as const) {
    assert.equal(decideRequest(true, policy), 'accept');
    assert.equal(decideRequest(false, policy), 'reject');
    assert.equal(decideRequest(null, policy), policy === 'ask' ? null : policy);
  }
});
