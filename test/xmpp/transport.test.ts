import assert from 'node:assert/strict';
import type { SrvRecord } from 'node:dns';
import { getEventListeners, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type LookupFunction, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { TLSSocket, type TLSSocketOptions } from 'node:tls';
import { ConfigError, ProtocolError, RetryError } from '../../src/errors.ts';
import {
  connectTransport,
  isLoopbackAddress,
  type TransportOptions,
} from '../../src/xmpp/transport.ts';

const pem = (name: string): string =>
  readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8');
const key = pem('server.key');
const ca = pem('ca.pem');

type Handler = (socket: Socket, count: number) => unknown;

/** A server on a free port, closed with all its connections at the end of the test. */
const listen = async (handle: Handler, host = '127.0.0.1') => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {}).setNoDelay();
    handle(socket, sockets.push(socket));
  });
  server.listen(0, host);
  await once(server, 'listening');
  // The server is listening on TCP, so this is no path and not null.
  const { port } = server.address() as AddressInfo;
  return {
    port,
    sockets,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
};

const startTls = (socket: Socket, options: TLSSocketOptions) => {
  const secured = new TLSSocket(socket, { isServer: true, key, ...options });
  return secured.on('error', () => {});
};

/** Gathers text until it ends as it should. */
const readUntil = async (socket: Socket, end: string): Promise<string> => {
  let text = '';
  while (!text.endsWith(end)) {
    const [bytes] = await once(socket, 'data');
    text += bytes;
  }
  return text;
};

const header =
  `<?xml version='1.0'?><stream:stream id='1' version='1.0' xmlns='jabber:client' ` +
  `xmlns:stream='http://etherx.jabber.org/streams'>`;
const tlsNs = `xmlns='urn:ietf:params:xml:ns:xmpp-tls'`;
const offer = `${header}<stream:features><starttls ${tlsNs}/></stream:features>`;
const noOffer = `${header}<stream:features/>`;
const proceed = `<proceed ${tlsNs}/>`;

const writeBytes = async (socket: Socket, text: string): Promise<void> => {
  for (const byte of Buffer.from(text)) {
    socket.write(Buffer.of(byte));
    await new Promise(setImmediate);
  }
};

/** Answers the request for STARTTLS with `reply`. */
const negotiate = async (socket: Socket, reply = proceed): Promise<void> => {
  await readUntil(socket, "xmlns:stream='http://etherx.jabber.org/streams'>");
  socket.write(offer);
  await readUntil(socket, `<starttls ${tlsNs}/>`);
  socket.write(reply);
};

/** Offers STARTTLS with a certificate, and echoes what comes through it. */
const starttlsWith =
  (name: string): Handler =>
  async (socket) => {
    await negotiate(socket);
    const secured = startTls(socket, { cert: pem(name) });
    secured.pipe(secured);
  };
const directWith =
  (name: string): Handler =>
  (socket) => {
    const secured = startTls(socket, { cert: pem(name) });
    secured.pipe(secured);
  };
const echo: Handler = (socket) => socket.pipe(socket);
const silent: Handler = (socket) => socket.resume();
const say =
  (text: string): Handler =>
  (socket) => {
    socket.resume().write(text);
  };

const connect = (port: number, options: Partial<TransportOptions>, signal?: AbortSignal) => {
  const where = { domain: 'example.test', host: '127.0.0.1', location: null };
  const defaults = { ...where, tls: 'auto', ca: null } as const;
  return connectTransport({ ...defaults, port, timeoutMs: 5_000, ...options }, signal);
};

const timers = (): number =>
  process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

/** Says something through the stream, and expects to hear it again. */
const requireEcho = async ({ socket }: { socket: Socket }): Promise<void> => {
  socket.write('hello');
  assert.equal(await readUntil(socket, 'hello'), 'hello');
  socket.destroy();
};

/** Expects a failure, and that it leaves nothing open behind it. */
const requireFailure = async (
  handle: Handler,
  options: Partial<TransportOptions>,
  kind: typeof RetryError | typeof ConfigError | typeof ProtocolError,
  message: RegExp,
): Promise<void> => {
  await using server = await listen(handle);
  const before = timers();
  const error: unknown = await connect(server.port, options).catch((reason: unknown) => reason);
  assert.ok(error instanceof kind, String(error));
  assert.match(error.message, message);
  assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${server.port}`));
  for (const socket of server.sockets) if (!socket.closed) await once(socket, 'close');
  assert.equal(timers(), before);
};

test('none is in clear and sends nothing by itself', async () => {
  await using server = await listen(echo);
  const transport = await connect(server.port, { tls: 'none' });
  assert.equal(transport.isSecure, false);
  assert.equal(transport.isLoopback, true);
  assert.equal(transport.via, `127.0.0.1:${server.port}, in clear`);
  await requireEcho(transport);
});

test('direct is TLS from the first byte, with SNI and ALPN (XEP-0368)', async () => {
  let seen: unknown[] = [];
  await using server = await listen((socket) => {
    const secured = startTls(socket, {
      cert: pem('valid.pem'),
      ALPNProtocols: ['xmpp-server', 'xmpp-client'],
    });
    secured.on('secure', () => {
      seen = [secured.alpnProtocol, Reflect.get(secured, 'servername')];
    });
    secured.pipe(secured);
  });
  const transport = await connect(server.port, { tls: 'direct', ca });
  assert.equal(transport.isSecure, true);
  assert.equal(transport.via, `127.0.0.1:${server.port}, direct TLS`);
  await requireEcho(transport);
  assert.deepEqual(seen, ['xmpp-client', 'example.test']);
});

test('starttls goes on in TLS, and its certificate is verified for the domain', async () => {
  await using server = await listen(starttlsWith('valid.pem'));
  const transport = await connect(server.port, { tls: 'starttls', ca });
  assert.equal(transport.isSecure, true);
  assert.equal(transport.via, `127.0.0.1:${server.port}, STARTTLS`);
  await requireEcho(transport);
});

test('a server that sends byte by byte is understood', async () => {
  await using server = await listen(async (socket) => {
    await readUntil(socket, `'>`);
    await writeBytes(socket, offer);
    await readUntil(socket, `<starttls ${tlsNs}/>`);
    await writeBytes(socket, proceed);
    const secured = startTls(socket, { cert: pem('valid.pem') });
    secured.pipe(secured);
  });
  await requireEcho(await connect(server.port, { tls: 'starttls', ca }));
});

test('an IP address as domain is verified as one, without SNI (RFC 6066 §3)', async () => {
  let name: unknown = null;
  await using server = await listen((socket) => {
    const secured = startTls(socket, { cert: pem('valid.pem') });
    secured.on('secure', () => {
      name = Reflect.get(secured, 'servername');
    });
    secured.pipe(secured);
  });
  await requireEcho(await connect(server.port, { domain: '127.0.0.1', tls: 'direct', ca }));
  assert.equal(name, false);
});

test('auto on loopback takes a certificate that nobody signed, and says so', async () => {
  await using server = await listen(starttlsWith('selfSigned.pem'));
  const transport = await connect(server.port, {});
  assert.equal(transport.isSecure, true);
  assert.equal(transport.via, `127.0.0.1:${server.port}, STARTTLS, certificate not verified`);
  await requireEcho(transport);
});

test('auto on loopback verifies the certificate when a CA is given', async () => {
  await requireFailure(starttlsWith('selfSigned.pem'), { ca }, ConfigError, /is self-signed/);
});

test('auto on loopback takes a server without TLS, on a connection that was not used', async () => {
  await using server = await listen((socket, count) =>
    count === 1 ? say(noOffer)(socket, count) : echo(socket, count),
  );
  const transport = await connect(server.port, {});
  assert.equal(transport.isSecure, false);
  assert.equal(transport.isLoopback, true);
  await requireEcho(transport);
});

const outer = Object.values(networkInterfaces())
  .flat()
  .find((address) => address?.family === 'IPv4' && !address.internal)?.address;

test('auto elsewhere demands TLS', { skip: !outer && 'only loopback here' }, async () => {
  await using server = await listen(say(noOffer), outer);
  const failed = connect(server.port, { host: outer ?? '' });
  await assert.rejects(failed, { name: 'ConfigError', message: /does not offer TLS/ });
});

test('auto elsewhere demands a good one', { skip: !outer && 'only loopback here' }, async () => {
  await using server = await listen(starttlsWith('selfSigned.pem'), outer);
  const failed = connect(server.port, { host: outer ?? '' });
  await assert.rejects(failed, { name: 'ConfigError', message: /is self-signed/ });
  await using good = await listen(starttlsWith('valid.pem'), outer);
  const transport = await connect(good.port, { host: outer ?? '', ca });
  assert.equal(transport.isLoopback, false);
  await requireEcho(transport);
});

test('loopback is 127/8 and ::1, also as IPv6 writes the former', () => {
  for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) {
    assert.equal(isLoopbackAddress(address), true, address);
  }
  for (const address of ['128.0.0.1', '10.0.0.1', '::2', '::ffff:10.0.0.1', '::', '0.0.0.0', '']) {
    assert.equal(isLoopbackAddress(address), false, address);
  }
});

test('a server without TLS is refused where TLS is demanded', async () => {
  const message = /does not offer TLS; set tls = 'none' to allow it in clear$/;
  await requireFailure(say(noOffer), { tls: 'starttls' }, ConfigError, message);
});

const fingerprint = /\(SHA-256 fingerprint ([0-9A-F]{2}:){31}[0-9A-F]{2}\)$/.source;
test('a server that resets the connection after its features is still on loopback', async () => {
  await using server = await listen((socket, count) => {
    socket.resume();
    if (count === 1)
      socket.once('data', () => socket.write(noOffer, () => socket.resetAndDestroy()));
  });
  const { socket, via } = await connect(server.port, {});
  assert.equal(via, `127.0.0.1:${server.port}, in clear`);
  socket.destroy();
});

const badCertificates: [name: string, what: string][] = [
  ['expired.pem', 'expired on 2020-02-01$'],
  ['future.pem', 'is not valid before 2110-01-01$'],
  ['other.pem', 'is for other\\.test, www\\.other\\.test, not for example\\.test$'],
  ['selfSigned.pem', `is self-signed ${fingerprint}`],
];

for (const [name, what] of badCertificates) {
  test(`a certificate is refused with the reason: ${name}`, async () => {
    const message = new RegExp(`^the certificate of .* ${what}`);
    await requireFailure(starttlsWith(name), { tls: 'starttls', ca }, ConfigError, message);
    await requireFailure(directWith(name), { tls: 'direct', ca }, ConfigError, message);
  });
}

test('a certificate by an authority that is not trusted names it', async () => {
  const message = new RegExp(`issued by an unknown authority, Rowgram test CA ${fingerprint}`);
  await requireFailure(directWith('valid.pem'), { tls: 'direct' }, ConfigError, message);
});

test('a CA that is no certificate is told as such', async () => {
  await using server = await listen(directWith('valid.pem'));
  const failed = connect(server.port, { tls: 'direct', ca: 'hello' });
  await assert.rejects(failed, { name: 'ConfigError', message: /not a certificate in PEM/ });
});

test('the wrong kind of port is told, with the mode to set', async () => {
  const hint = /TLS from the first byte; set tls = 'direct'/;
  const alert = say('\x15\x03\x01\x00\x02\x02\x46');
  await requireFailure(alert, { tls: 'starttls', ca }, ConfigError, hint);
  const clear = /does not speak TLS from the first byte \(in the TLS handshake\)/;
  await requireFailure(say(offer), { tls: 'direct', ca }, ConfigError, clear);
});

test('a stream error before the features tells what the server said', async () => {
  const sayError = (condition: string): Handler =>
    say(
      `${header}<stream:error><${condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>` +
        `<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>sorry</text></stream:error>`,
    );
  const unknown = /refuses a stream to example\.test: host-unknown \(sorry\)$/;
  await requireFailure(sayError('host-unknown'), {}, ConfigError, unknown);
  await requireFailure(sayError('system-shutdown'), {}, RetryError, /system-shutdown/);
});

test('a server that does not keep to the protocol is told', async () => {
  await requireFailure(
    say('HTTP/1.1 400 Bad Request\r\n'),
    {},
    ProtocolError,
    /breaks the protocol/,
  );
  await requireFailure(say(header + proceed), {}, ProtocolError, /out of turn/);
  await requireFailure(say(offer + offer.slice(header.length)), {}, ProtocolError, /a second list/);
  const endless = say(`${header}<stream:features>${'<x/>'.repeat(17_000)}`);
  await requireFailure(endless, {}, ProtocolError, /more than 65536 bytes/);
  await requireFailure(say(`${header}</stream:stream>`), {}, RetryError, /ended the stream/);
  const refusing: Handler = (socket) => negotiate(socket, `<failure ${tlsNs}/>`);
  await requireFailure(refusing, {}, RetryError, /refused to start it/);
});

test('bytes in clear after the go-ahead are refused (RFC 6120 §5.4.3.3)', async () => {
  for (const injected of ['\n', '<message/>', '\x16\x03\x03']) {
    const handle: Handler = (socket) => negotiate(socket, proceed + injected);
    await requireFailure(handle, { ca }, ProtocolError, /followed the go-ahead/);
  }
});

test('silence ends with the stage at which it began', async () => {
  const timeoutMs = 100;
  const stages: [handle: Handler, stage: RegExp][] = [
    [silent, /gave no answer within 0\.1 s \(waiting for a stream header;.*tls = 'direct'\?\)/],
    [say(`${header}<stream:features>`), /\(waiting for the stream features\)/],
    [say(offer), /\(waiting for the go-ahead to TLS\)/],
    [(socket) => negotiate(socket), /\(in the TLS handshake\)/],
  ];
  for (const [handle, stage] of stages) {
    await requireFailure(handle, { tls: 'starttls', timeoutMs }, RetryError, stage);
  }
  await requireFailure(silent, { tls: 'direct', timeoutMs }, RetryError, /TLS handshake/);
});

test('a connection that is refused or closed is worth another try', async () => {
  const closing: Handler = (socket) => socket.resume().end();
  await requireFailure(closing, { tls: 'starttls' }, RetryError, /closed the connection/);
  const reset: Handler = (socket) => socket.resetAndDestroy();
  await requireFailure(reset, { tls: 'direct' }, RetryError, /reset|closed/);
  const server = await listen(silent);
  await server[Symbol.asyncDispose]();
  const failed = connect(server.port, {});
  await assert.rejects(failed, { name: 'RetryError', message: /:\d+: the connection was refused/ });
});

test('a signal ends it at any stage, with its own reason', async () => {
  const reason = new Error('enough');
  /** Each comes to its end when the client has reached the stage and waits. */
  const stages: ((socket: Socket) => Promise<unknown>)[] = [
    (socket) => readUntil(socket, `'>`),
    async (socket) => {
      socket.write(offer);
      await readUntil(socket, `<starttls ${tlsNs}/>`);
    },
    async (socket) => {
      await negotiate(socket);
      await once(socket, 'data');
    },
  ];
  for (const reach of stages) {
    const controller = new AbortController();
    const before = timers();
    await using server = await listen(async (socket) => {
      await reach(socket);
      socket.resume();
      controller.abort(reason);
    });
    await assert.rejects(connect(server.port, { tls: 'starttls' }, controller.signal), reason);
    assert.deepEqual(getEventListeners(controller.signal, 'abort'), []);
    for (const socket of server.sockets) if (!socket.closed) await once(socket, 'close');
    assert.equal(timers(), before);
  }
  await assert.rejects(connect(1, {}, AbortSignal.abort(reason)), reason);
});

test('success leaves no listener on the signal and no timer', async () => {
  await using server = await listen(starttlsWith('valid.pem'));
  const { signal } = new AbortController();
  const before = timers();
  const { socket } = await connect(server.port, { ca }, signal);
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
  assert.equal(timers(), before);
  for (const event of ['data', 'connect', 'secureConnect']) {
    assert.equal(socket.listenerCount(event), 0, event);
  }
  socket.destroy();
});

test('a reset after all is done does not end the process', async () => {
  await using server = await listen(starttlsWith('valid.pem'));
  const { socket } = await connect(server.port, { ca });
  server.sockets[0]?.resetAndDestroy();
  await once(socket, 'close');
  assert.equal(socket.destroyed, true);
});

/** A DNS in which hosts called dead do not exist and all others are on loopback. */
const resolverOf = (zone: Record<string, SrvRecord[]>) => {
  const lookup: LookupFunction = (host, options, give) => {
    const error: NodeJS.ErrnoException = Object.assign(new Error(host), { code: 'ENOTFOUND' });
    if (host.startsWith('dead')) give(error, '');
    else if (options.all) give(null, [{ address: '127.0.0.1', family: 4 }]);
    else give(null, '127.0.0.1', 4);
  };
  const resolveSrv = async (name: string) => {
    const records = zone[name];
    if (records === undefined) throw new Error('ENOTFOUND');
    return records;
  };
  return { resolveSrv, lookup };
};
const srv = (name: string, priority: number, port: number) => ({ name, priority, weight: 0, port });
const starttlsName = '_xmpp-client._tcp.example.test';
const directName = '_xmpps-client._tcp.example.test';

test('addresses in DNS are tried in turn until one is good', async () => {
  await using mute = await listen(silent);
  await using bad = await listen(starttlsWith('expired.pem'));
  await using good = await listen(directWith('valid.pem'));
  const resolver = resolverOf({
    [directName]: [srv('xmpp.elsewhere.test', 4, good.port)],
    [starttlsName]: [srv('dead', 1, 1), srv('mute', 2, mute.port), srv('bad', 3, bad.port)],
  });
  const startedAt = performance.now();
  const transport = await connect(0, { host: '', ca, resolver, timeoutMs: 900 });
  assert.ok(performance.now() - startedAt < 900);
  assert.equal(transport.via, `127.0.0.1:${good.port}, direct TLS`);
  await requireEcho(transport);
});

test('when all addresses fail each is told, and one that may recover decides', async () => {
  await using bad = await listen(starttlsWith('expired.pem'));
  const dead = srv('dead', 1, 7);
  const both = resolverOf({ [starttlsName]: [dead, srv('bad', 2, bad.port)] });
  await assert.rejects(connect(0, { host: '', ca, resolver: both }), {
    name: 'RetryError',
    message: /^dead:7: DNS knows no such host \(connecting\); the certificate of bad:\d+ expired/,
  });
  const worse = resolverOf({ [starttlsName]: [srv('b', 1, bad.port), srv('c', 2, bad.port)] });
  await assert.rejects(connect(0, { host: '', ca, resolver: worse }), {
    name: 'ConfigError',
    message: /^the certificate of b:\d+ expired .*; the certificate of c:\d+ expired/,
  });
});

test('a DNS that does not answer costs a third of the time', async () => {
  await using server = await listen(starttlsWith('valid.pem'));
  const { lookup } = resolverOf({});
  const resolveSrv = async (_name: string, signal: AbortSignal): Promise<SrvRecord[]> => {
    await once(signal, 'abort');
    throw signal.reason;
  };
  const resolver = { lookup, resolveSrv };
  await requireEcho(await connect(server.port, { host: '', ca, resolver, timeoutMs: 600 }));
});
