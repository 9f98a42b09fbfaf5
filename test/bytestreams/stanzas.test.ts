import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bytestreamsNs,
  formatStreamhost,
  readBytestreamsRequest,
} from '../../src/bytestreams/stanzas.ts';
import { parseFragment } from '../../src/xmpp/wire/fragment.ts';

const REQUESTER = "from='Requester@Example.com/foo' to='streamer.example.com' id='1'";

const read = (type: string, query: string) =>
  readBytestreamsRequest(
    parseFragment(`<iq type='${type}' xmlns='jabber:client' ${REQUESTER}>${query}</iq>`),
  );

const QUERY = `query xmlns='${bytestreamsNs}'`;

const requester = {
  received: 'Requester@Example.com/foo',
  normalised: 'requester@example.com/foo',
};

test('who asks for the address need not say for what (XEP-0065 §6.2.2)', () => {
  assert.deepEqual(read('get', `<${QUERY}/>`), { type: 'address', sid: null, requester });
  assert.deepEqual(read('get', `<${QUERY} sid='s'/>`), { type: 'address', sid: 's', requester });
});

test('an activation names the stream and the target (XEP-0065 §6.3.5)', () => {
  const query = `<${QUERY} sid='s'><activate>Target@Example.org/Bar\n</activate></query>`;
  assert.deepEqual(read('set', query), {
    type: 'activate',
    sid: 's',
    requester,
    target: { received: 'Target@Example.org/Bar', normalised: 'target@example.org/Bar' },
  });
});

test('an activation that lacks something is told what', () => {
  const refused: [string, string][] = [
    [`<${QUERY}><activate>a@b</activate></query>`, 'bad-request'],
    [`<${QUERY} sid='s'/>`, 'bad-request'],
    [`<${QUERY} sid='${'s'.repeat(1_001)}'><activate>a@b</activate></query>`, 'bad-request'],
    [`<${QUERY} sid='s'><streamhost/></query>`, 'bad-request'],
    [`<${QUERY} sid='s'><activate/></query>`, 'jid-malformed'],
    [`<${QUERY} sid='s'><activate>@</activate></query>`, 'jid-malformed'],
  ];
  for (const [query, condition] of refused) {
    assert.throws(() => read('set', query), { condition }, query);
  }
});

test('what is no request to a proxy is left alone', () => {
  assert.equal(read('result', `<${QUERY}/>`), null);
  assert.equal(read('get', "<ping xmlns='urn:xmpp:ping'/>"), null);
});

test('the answer has one streamhost, and IPv6 without brackets', () => {
  assert.equal(
    formatStreamhost({ jid: 'streamer.example.com', host: '2001:db8::1', port: 7777 }, null),
    `<${QUERY}><streamhost jid='streamer.example.com' host='2001:db8::1' port='7777'/></query>`,
  );
});
