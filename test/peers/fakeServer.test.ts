/** The fake server logs clients in, and does what its script says. */
import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { test } from 'node:test';
import { type FakeServer, type Script, startFakeServer } from './fakeServer.ts';
import { connectRaw, type RawClient } from './rawClient.ts';
import { createScramServer } from './scramServer.ts';

const SM = 'urn:xmpp:sm:3';

const login = (server: FakeServer, password = 'secret'): Promise<RawClient> =>
  connectRaw({ ...server, jid: `bob@${server.domain}`, password, resource: 'r', presence: false });

const withServer = async (
  script: Partial<Script>,
  use: (server: FakeServer) => Promise<void>,
): Promise<void> => {
  const server = await startFakeServer(script);
  try {
    await use(server);
  } finally {
    await server.stop();
  }
};

const named =
  (name: string) =>
  ({ element }: { element: { name: string } }): boolean =>
    element.name === name;

test('a client logs in, binds and is counted', () =>
  withServer({}, async (server) => {
    const client = await login(server);
    assert.equal(client.jid, 'bob@fake.test/r');
    const session = await server.waitForSession(1);
    assert.equal(session.state.mechanism, 'PLAIN');
    assert.equal(server.logins().length, 1);
    const pong = await client.iq("<iq type='get' id='p1'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert.equal(pong.element.attrs.type, 'result');
    await client.close();
    assert.equal(await session.closed, 'the connection has ended');
  }));

test('a wrong password and an account that is refused get their conditions', () =>
  withServer({}, async (server) => {
    await assert.rejects(login(server, 'wrong'), /<not-authorized\/>/);
    server.change({ authFailure: 'account-disabled' });
    await assert.rejects(login(server), /<account-disabled\/>/);
    assert.equal(server.logins().length, 0);
    assert.equal(server.sessions.length, 2);
  }));

test('it falls silent where it is told', async () => {
  for (const silentAt of ['header', 'features', 'success', 'features after login'] as const) {
    await withServer({ silentAt }, async (server) => {
      const pending = login(server);
      const session = await server.waitForConnection(1);
      const hasFallenSilent = silentAt.startsWith('f') || silentAt === 'header';
      if (!hasFallenSilent) await session.next(named('auth'));
      session.end();
      await assert.rejects(pending, /the connection has ended/);
      assert.equal(session.state.jid, null);
    });
  }
});

test('a session is resumed with the stanzas that were not acknowledged (XEP-0198 §5)', () =>
  withServer({}, async (server) => {
    const first = await login(server);
    first.send(`<enable xmlns='${SM}' resume='true'/>`);
    const { id } = (await first.next(named('enabled'))).element.attrs;
    first.send(`<message/><r xmlns='${SM}'/>`);
    assert.equal((await first.next(named('a'))).element.attrs.h, '1');
    const session = await server.waitForSession(1);
    session.send("<message id='1'/>");
    session.send("<message id='2'/>");
    first.send(`<a xmlns='${SM}' h='1'/>`);
    await session.next(named('a'));
    session.reset();
    await first.closed;

    const second = await login(server);
    second.send(`<resume xmlns='${SM}' previd='${id}' h='1'/>`);
    assert.equal((await second.next(named('resumed'))).element.attrs.h, '1');
    assert.equal((await second.next(named('message'))).element.attrs.id, '2');

    server.change({ resumption: 'counted' });
    second.send(`<resume xmlns='${SM}' previd='${id}' h='1'/>`);
    assert.equal((await second.next(named('failed'))).element.attrs.h, '1');
    assert.equal((await server.waitForSession(2)).state.isResumed, true);
  }));

test('without stream management it offers none', () =>
  withServer({ streamManagement: 'absent' }, async (server) => {
    const client = await login(server);
    assert.ok(!client.stanzas.some(({ xml }) => xml.includes(SM)));
    client.send(`<enable xmlns='${SM}'/>`);
    await client.next(named('failed'));
  }));

test('bytes pass as they are, in pieces that cut characters', () =>
  withServer({}, async (server) => {
    const client = await login(server);
    const session = await server.waitForSession(1);
    await session.writePieces(Buffer.from('<message><body>👋日本</body></message>'), 1);
    const { element } = await client.next(named('message'));
    assert.equal(element.find('body')?.text, '👋日本');
    session.write(Buffer.from([0x3c, 0x61, 0x3e, 0xff, 0xfe]));
    assert.match(await client.closed, /broke the stream/);
  }));

test('a stream error ends the stream, and the connection stays until the client ends it', () =>
  withServer({ silentAt: 'footer' }, async (server) => {
    const client = await login(server);
    const session = await server.waitForSession(1);
    session.streamError('system-shutdown');
    const { element } = await client.next(named('error'));
    assert.ok(element.find('system-shutdown'));
    session.reset();
    await client.closed;
  }));

test('the script may answer by itself', () =>
  withServer({}, async (server) => {
    server.change({
      onStanza(session, { element }) {
        if (element.name !== 'presence') return 'unhandled';
        session.write(`<a xmlns='${SM}' h='999'/>`);
        return 'handled';
      },
    });
    const client = await login(server);
    client.send('<presence/>');
    assert.equal((await client.next(named('a'))).element.attrs.h, '999');
  }));

test('SCRAM-SHA-1 accepts the proof of the password alone (RFC 5802 §3)', () => {
  const prove = (password: string): string | null => {
    const server = createScramServer('secret');
    const challenge = server.challenge('n,,n=bob,r=abc');
    const [, nonce, salt = '', count] = challenge.match(/^r=(.*),s=(.*),i=(.*)$/) ?? [];
    const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(count), 20, 'sha1');
    const clientKey = createHmac('sha1', salted).update('Client Key').digest();
    const storedKey = createHash('sha1').update(clientKey).digest();
    const signed = `n=bob,r=abc,${challenge},c=biws,r=${nonce}`;
    const signature = createHmac('sha1', storedKey).update(signed).digest();
    const proof = clientKey.map((byte, i) => byte ^ (signature[i] ?? 0));
    return server.verify(`c=biws,r=${nonce},p=${Buffer.from(proof).toString('base64')}`);
  };
  assert.match(prove('secret') ?? '', /^v=/);
  assert.equal(prove('guess'), null);
});
