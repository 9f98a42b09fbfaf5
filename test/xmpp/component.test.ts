/** Component streams: how they begin, what they bear, and how they end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import type { Element } from '@xmpp/client';
import { ConfigError, ProtocolError, RejectError, RetryError } from '../../src/errors.ts';
import {
  type ComponentOptions,
  type ComponentSession,
  openComponent,
} from '../../src/xmpp/component.ts';
import { hashHandshake } from '../../src/xmpp/wire/component.ts';
import { hostileXml } from '../fixtures/hostileXml.ts';
import { startFakeComponentServer } from '../peers/fakeComponentServer.ts';

const HOST = '127.0.0.1';
const DOMAIN = 'proxy.fake.test';

type Opened = {
  session: ComponentSession;
  received: Element[];
  /** Settles with what the stream ended with. */
  closed: Promise<Error | null>;
};

/** Passes on so many bytes, of both directions together, and then resets the connection. */
const startCutter = async (target: { host: string; port: number }, allowed: number) => {
  const sockets: Socket[] = [];
  let left = allowed;
  let isCut = false;
  const server = createServer((client) => {
    const upstream = connect(target);
    sockets.push(client, upstream);
    const pass = (from: Socket, to: Socket) =>
      from.on('data', (bytes) => {
        if (isCut) return;
        const last = bytes.length > left;
        const passed = bytes.subarray(0, left);
        left -= passed.length;
        isCut = last;
        to.write(passed, () => (last ? setImmediate(() => client.resetAndDestroy()) : undefined));
      });
    pass(client, upstream);
    pass(upstream, client);
    for (const socket of [client, upstream]) socket.on('error', () => {});
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port, // of TCP, so no string
    hasCut: () => isCut,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
};

const open = async (port: number, options: Partial<ComponentOptions> = {}): Promise<Opened> => {
  const received: Element[] = [];
  const { promise, resolve } = Promise.withResolvers<Error | null>();
  const address = { domain: DOMAIN, host: HOST, port, tls: 'auto', ca: null } as const;
  const session = await openComponent(
    { ...address, secret: 'secret', ...options },
    { onStanza: (stanza) => received.push(stanza), onClose: resolve },
    AbortSignal.timeout(10_000),
  );
  session.begin();
  return { session, received, closed: promise };
};

test('the handshake is that of the example (XEP-0114 §3, with the secret `test`)', () => {
  assert.equal(hashHandshake('3BF96D32', 'test'), 'aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e');
});

test('a secret is hashed as UTF-8', () => {
  // As sha1sum has it of the same bytes.
  assert.equal(hashHandshake('a', 'ü'), '07e81358d84cadc44dc6fbc3d231048f0dca640d');
});

test('stanzas go both ways, and a goodbye is answered', async () => {
  await using server = await startFakeComponentServer();
  const { session, received, closed } = await open(server.port);
  const stream = await server.waitForStream(1);
  assert.equal(stream.domain, DOMAIN);
  session.send(`<message from='a@${DOMAIN}' to='b@c'/>`);
  await stream.next(({ element }) => element.attrs.to === 'b@c');
  await stream.writeBytewise(`<message from='ü@c' to='${DOMAIN}'><body>ä€😀</body></message><iq/>`);
  while (received.length < 2) await new Promise((done) => setTimeout(done, 5));
  assert.equal(received[0]?.getChildText('body'), 'ä€😀');
  assert.equal(received[0]?.attrs.from, 'ü@c');
  await session.close();
  assert.equal(await closed, null);
  assert.equal(session.isOpen(), false);
});

test('what comes in one packet with the handshake is told after `begin`', async () => {
  const server = createServer((socket) => {
    socket.once('data', () => {
      socket.write(
        "<stream:stream xmlns='jabber:component:accept' id='x' " +
          "xmlns:stream='http://etherx.jabber.org/streams'><handshake/><message id='early'/>",
      );
    });
  }).listen(0, HOST);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // of TCP, so no string
  const { session, received } = await open(port);
  assert.deepEqual(
    received.map(({ attrs }) => attrs.id),
    ['early'],
  );
  session.drop(null);
  server.close();
});

test('stream errors are verdicts in words', async () => {
  await using server = await startFakeComponentServer();
  const verdicts = [
    ['not-authorized', RejectError, /refused proxy\.fake\.test with this secret: not-authorized/],
    ['host-unknown', ConfigError, /knows no component proxy\.fake\.test: host-unknown/],
    ['host-gone', ConfigError, /no longer has a component/],
    ['invalid-namespace', ConfigError, /takes no components at this port/],
    ['conflict', ProtocolError, /another connection has the domain/],
    ['system-shutdown', ProtocolError, /ended the stream: system-shutdown/],
  ] as const;
  for (const [condition, verdict, text] of verdicts) {
    server.change({ refusal: condition });
    const error = await open(server.port).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof verdict, `${condition}: ${error}`);
    assert.match(error.message, text);
  }
  server.change({ refusal: null });
  await assert.rejects(open(server.port, { secret: 'wrong' }), RejectError);
  const { closed } = await open(server.port);
  (await server.waitForStream(1)).streamError('conflict', 'replaced');
  const error = await closed;
  assert.ok(error instanceof ProtocolError && error.source === 'conflict');
  assert.match(error.message, /conflict \(replaced\)/);
});

test('a port for clients is told as what it is', async () => {
  const server = createServer((socket) => {
    socket.write(
      "<stream:stream xmlns='jabber:client' id='x' xmlns:stream='http://etherx.jabber.org/streams'>",
    );
  }).listen(0, HOST);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // of TCP, so no string
  await assert.rejects(open(port), { name: 'ConfigError', message: /no components at this port/ });
  server.close();
});

test('a refusal may come with a header that has no id, as in Prosody', async () => {
  const server = createServer((socket) => {
    const ns = 'http://etherx.jabber.org/streams';
    socket.end(
      `<stream:stream xmlns='jabber:component:accept' xmlns:stream='${ns}'><stream:error>` +
        "<host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    );
  }).listen(0, HOST);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // of TCP, so no string
  await assert.rejects(open(port), { name: 'ConfigError', message: /knows no component/ });
  server.close();
});

test('direct TLS verifies the certificate for the host, and names no protocol of clients', async () => {
  const read = (name: string) =>
    readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8');
  await using server = await startFakeComponentServer();
  const names: unknown[] = [];
  const terms = {
    key: read('server.key'),
    cert: read('valid.pem'),
    ALPNProtocols: ['xmpp-client'],
  };
  const front = createTlsServer(terms, (client) => {
    names.push(client.alpnProtocol);
    const upstream = connect(server);
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) socket.on('error', () => {});
  }).listen(0, HOST);
  await once(front, 'listening');
  const { port } = front.address() as AddressInfo; // of TCP, so no string
  const { session } = await open(port, { tls: 'direct', ca: read('ca.pem') });
  assert.equal(session.via, `127.0.0.1:${port}, direct TLS`);
  assert.deepEqual(names, [false]);
  await session.close();
  await assert.rejects(open(port, { tls: 'direct', ca: read('other.pem') }), ConfigError);
  front.close();
});

test('a server that says nothing is left in time', async () => {
  await using server = await startFakeComponentServer({ isSilent: true });
  await assert.rejects(open(server.port, { loginMs: 300 }), {
    name: 'RetryError',
    message: /no answer within 0\.3 s \(in the handshake\)/,
  });
});

test('the server is pinged, whether or not it is silent, and an answer keeps the stream', async () => {
  await using server = await startFakeComponentServer();
  const { session, received, closed } = await open(server.port, {
    keepAliveMs: 30,
    patienceMs: 500,
  });
  const stream = await server.waitForStream(1);
  for (let count = 0; count < 5; count += 1) {
    const { element } = await stream.next(({ element: { name } }) => name === 'iq');
    assert.equal(element.attrs.from, DOMAIN);
    assert.ok(element.find('ping', 'urn:xmpp:ping'));
    stream.write(`<message from='a@b' to='${DOMAIN}'/>`);
  }
  assert.ok(session.isOpen());
  assert.ok(received.every(({ name }) => name === 'message'));
  server.change({ isSilent: true });
  const error = await closed;
  assert.ok(error instanceof RetryError);
  assert.match(error.message, /has not answered for/);
});

test('what breaks the rules of XML or is too much ends the stream, with a word', async () => {
  await using server = await startFakeComponentServer();
  // A lone surrogate cannot be written as UTF-8.
  const cases = hostileXml.filter(({ xml }) => xml.isWellFormed());
  for (const [index, { what, xml, condition }] of cases.entries()) {
    const { closed } = await open(server.port);
    const stream = await server.waitForStream(index + 1);
    stream.write(xml);
    const error = await closed;
    assert.ok(error instanceof ProtocolError, what);
    assert.equal(error.source, condition, what);
    const { element } = await stream.next(({ element: { name } }) => name === 'error');
    assert.ok(element.find(condition), what);
  }
});

test('a reset at any byte of the way is an outage, and no more', async () => {
  await using server = await startFakeComponentServer();
  let hasOpened = false;
  let bytes = 0;
  for (; !hasOpened; bytes += 1) {
    await using cutter = await startCutter(server, bytes);
    const [outcome] = await Promise.allSettled([open(cutter.port)]);
    hasOpened = outcome.status === 'fulfilled' && !cutter.hasCut();
    if (outcome.status === 'fulfilled') outcome.value.session.drop(null);
    else assert.ok(outcome.reason instanceof RetryError, String(outcome.reason));
    assert.ok(bytes < 1_000);
  }
  assert.ok(bytes > 300);
});

test('a reset at any byte of a stanza ends the stream, once, and no more', async () => {
  await using server = await startFakeComponentServer();
  const stanza = Buffer.from(`<message from='ü@b' to='${DOMAIN}'><body>ä&amp;</body></message>`);
  for (let length = 0; length <= stanza.length; length += 1) {
    const { session, closed } = await open(server.port);
    const stream = await server.waitForStream(length + 1);
    session.send(`<message from='${DOMAIN}' to='a@b'/>`);
    stream.write(stanza.subarray(0, length));
    setImmediate(() => stream.reset());
    assert.ok((await closed) instanceof RetryError);
    session.send('<message/>');
    await session.close();
  }
});
