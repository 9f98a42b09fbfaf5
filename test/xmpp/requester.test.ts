/** Questions and what their answers mean. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRequester } from '../../src/xmpp/requester.ts';
import { parseFragment } from '../../src/xmpp/wire/fragment.ts';

const NS = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'";

/** Asks, and answers with that. */
const ask = (type: 'result' | 'error', content: string, from = 'b@there') => {
  let id = '';
  const requester = createRequester({
    send(stanza) {
      id = parseFragment(stanza).attrs.id ?? '';
      return true;
    },
    ownJid: () => 'a@here',
  });
  const answer = requester.ask({ to: 'b@there', type: 'get', payload: "<q xmlns='urn:q'/>" });
  const iq = parseFragment(`<iq type='${type}' id='${id}' from='${from}'>${content}</iq>`);
  const taken = requester.take(iq);
  if (taken !== 'taken') requester.fail(new Error('not taken'));
  return { answer, taken };
};

test('an error is a verdict; one of the type wait may pass (RFC 6120 §8.3.2)', async () => {
  const verdicts: [content: string, name: string, message: string][] = [
    [`<error type='cancel'><gone ${NS}/><text ${NS}>so</text></error>`, 'RejectError', 'gone (so)'],
    [`<error type='wait'><gone ${NS}/></error>`, 'RetryError', 'gone'],
    [`<error><resource-constraint ${NS}/></error>`, 'RetryError', 'resource-constraint'],
    [`<error type='cancel'><own xmlns='urn:own'/></error>`, 'RejectError', 'undefined-condition'],
    ['', 'RejectError', 'undefined-condition'],
  ];
  for (const [content, name, message] of verdicts) {
    await assert.rejects(ask('error', content).answer, { name, message });
  }
});

test('only who was asked answers', async () => {
  assert.ok((await ask('result', '').answer).is('iq'));
  const { taken, answer } = ask('result', '', 'c@there');
  assert.equal(taken, 'spoofed');
  await assert.rejects(answer, /not taken/);
});
