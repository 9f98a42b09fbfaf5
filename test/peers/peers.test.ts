/** The peers of other tests do what they say. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { findProsody, type PrivateProsody, startProsody } from '../../src/demo/prosody.ts';
import { ConfigError } from '../../src/errors.ts';
import { findEjabberd, type PrivateEjabberd, startEjabberd } from './ejabberd.ts';
import { startFakeServer } from './fakeServer.ts';
import { connectRaw, type RawClient } from './rawClient.ts';
import { createSink } from './sink.ts';
import { createXmlReader, type Stanza } from './xmlReader.ts';

const ACCOUNTS = { alice: 'wonderland', bob: 'pass "word"\\ ünïcode' };

/** On a machine of our own a missing server is no failure; where all must run, it is. */
const skipWithout = (name: string, path: string | null): { skip: string | false } => ({
  skip: path === null && !process.env.CI ? `${name} is not installed` : false,
});
const prosody = skipWithout('Prosody', findProsody());
const ejabberd = skipWithout('ejabberd', findEjabberd());

const makeDir = async (t: TestContext): Promise<string> => {
  const dir = await mkdtemp(join(tmpdir(), 'peers-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
};

const runProsody = async (t: TestContext, settings = ''): Promise<PrivateProsody> => {
  const server = await startProsody({ dir: await makeDir(t), accounts: ACCOUNTS, settings });
  t.after(() => server.stop());
  return server;
};

const login = async (
  t: TestContext,
  server: { host: string; port: number; domain: string },
  name: keyof typeof ACCOUNTS,
): Promise<RawClient> => {
  const jid = `${name}@${server.domain}`;
  const { host, port } = server;
  const client = await connectRaw({ host, port, jid, password: ACCOUNTS[name] });
  t.after(() => client.destroy());
  return client;
};

const hasBody =
  (body: string) =>
  ({ element }: Stanza): boolean =>
    element.find('body')?.text === body;

/** Alice says it, and Bob hears it. */
const assertTalk = async (
  t: TestContext,
  server: PrivateProsody | PrivateEjabberd,
  body: string,
): Promise<void> => {
  const bob = await login(t, server, 'bob');
  const alice = await login(t, server, 'alice');
  alice.send(`<message to='${bob.jid}' type='chat' id='m1'><body>${body}</body></message>`);
  const { element, xml } = await bob.next(hasBody(body));
  assert.equal(element.attrs.from, alice.jid);
  assert.match(xml, /^<message .*<\/message>$/s);
  await alice.close();
  await bob.close();
};

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

const assertGone = async (pid: number): Promise<void> => {
  for (let i = 0; i < 100 && isAlive(pid); i += 1) await delay(30);
  assert.equal(isAlive(pid), false);
};

test(
  'two clients exchange a message through Prosody, and a restart keeps accounts',
  prosody,
  async (t) => {
    const server = await runProsody(t);
    await assertTalk(t, server, 'grüße 👋');
    const { pid } = server;
    await server.restart();
    assert.notEqual(server.pid, pid);
    assert.equal(isAlive(pid), false);
    await assertTalk(t, server, 'after the restart');
    server.kill('SIGKILL');
    await assertGone(server.pid);
    await server.restart();
    await assertTalk(t, server, 'after the crash');
    await server.stop();
    assert.equal(isAlive(server.pid), false);
  },
);

test('an account is added while Prosody runs, and its password is checked', prosody, async (t) => {
  const server = await runProsody(t);
  await server.addAccount('carol.o’hara', 'p4ssw0rd');
  const { host, port } = server;
  const jid = `carol.o’hara@${server.domain}`;
  const carol = await connectRaw({ host, port, jid, password: 'p4ssw0rd' });
  await carol.close();
  await assert.rejects(connectRaw({ host, port, jid, password: 'wrong' }), /not-authorized/);
});

test('the files of Prosody are for nobody else, and hold no password', prosody, async (t) => {
  const dir = await makeDir(t);
  const server = await startProsody({ dir, accounts: ACCOUNTS });
  await server.stop();
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const texts = await Promise.all(files.map((f) => readFile(join(f.parentPath, f.name), 'utf8')));
  assert.equal(files.filter(({ name }) => name.endsWith('.dat')).length, 2);
  assert.ok(!texts.some((text) => text.includes('wonderland')));
});

test('Prosody that cannot start tells why in a ConfigError', prosody, async (t) => {
  const dir = await makeDir(t);
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo; // a server on a port has such an address
  const inUse = startProsody({ dir, accounts: {}, port });
  await assert.rejects(
    inUse,
    (error) => error instanceof ConfigError && /in use/.test(error.message),
  );
  const broken = startProsody({ dir, accounts: {}, settings: 'this is = = not Lua' });
  await assert.rejects(
    broken,
    (error) => error instanceof ConfigError && /syntax error/.test(error.message),
  );
});

test('Prosody takes a component and ends with a parent that is killed', prosody, async (t) => {
  const dir = await makeDir(t);
  const program = `
    import { startProsody } from '${new URL('../../src/demo/prosody.ts', import.meta.url)}';
    const server = await startProsody({
      dir: ${JSON.stringify(dir)}, accounts: {}, componentSecrets: { 'c.localhost': 's' },
    });
    console.log(JSON.stringify([server.pid, server.port, server.componentPort]));
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = parent.stdout.setEncoding('utf8');
  const [line] = await Promise.race([once(output, 'data'), once(output, 'end')]);
  assert.ok(line, 'the parent ended before it told the pid');
  const [pid, ...ports] = JSON.parse(line);
  for (const port of ports) {
    const socket = connect({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    socket.destroy();
  }
  assert.ok(isAlive(pid));
  parent.kill('SIGKILL');
  await assertGone(pid);
});

test(
  'two clients exchange a message through ejabberd, and a restart keeps accounts',
  ejabberd,
  async (t) => {
    const dir = await makeDir(t);
    const server = await startEjabberd({ dir, accounts: ACCOUNTS, passwords: 'scram' });
    t.after(() => server.stop());
    await assertTalk(t, server, 'grüße 👋');
    server.kill('SIGKILL');
    await server.restart();
    await assertTalk(t, server, 'after the crash');
    await server.stop();
    assert.equal(isAlive(server.pid), false);
    await assert.rejects(readdir(dir), { code: 'ENOENT' });
  },
);

test('a sink tells what is missing, doubled and out of order', async (t) => {
  const server = await startFakeServer();
  t.after(() => server.stop());
  const client = await connectRaw({ ...server, jid: 'bob@fake.test', password: 'secret' });
  const sink = createSink(client);
  const session = await server.waitForSession(1);
  const say = (id: string, body: string) =>
    session.send(`<message id='${id}' from='a@b'><body>${body}</body></message>`);
  for (const body of ['1', '3', '2', '3', '5']) say(`id-${body}`, body);
  session.send(
    "<message id='d'><body>6</body><origin-id xmlns='urn:xmpp:sid:0' id='o'/>" +
      "<delay xmlns='urn:xmpp:delay' stamp='2020-01-02T03:04:05Z'/></message>",
  );
  await sink.waitFor(['5', '6'], 2_000);
  assert.deepEqual(sink.missing(['1', '2', '3', '4']), ['4']);
  assert.deepEqual(sink.duplicates(), [{ body: '3', ids: ['id-3', 'id-3'] }]);
  const late = sink.outOfOrder(({ body }) => ({ stream: 'a', number: Number(body) }));
  assert.deepEqual(
    late.map(({ body }) => body),
    ['2'],
  );
  assert.equal(sink.messages[5]?.originId, 'o');
  assert.equal(sink.messages[5]?.delayedAt?.toISOString(), '2020-01-02T03:04:05.000Z');
  await assert.rejects(sink.waitFor(['4'], 10), /1 are missing after 10 ms, such as 4/);
});

test('the reader finds the same stanzas wherever the bytes are cut', () => {
  const wire = Buffer.from(
    "<?xml version='1.0'?><s:stream xmlns:s='urn:s' xmlns='urn:c'>\r\n <a x='1'>é👋<b/>&lt;</a> " +
      "<p:m xmlns:p='urn:p'>日本</p:m>\n<a/>\r\n</s:stream>",
  );
  for (let cut = 0; cut <= wire.length; cut += 1) {
    const stanzas: Stanza[] = [];
    let footers = 0;
    const onFooter = () => {
      footers += 1;
    };
    const onStanza = (stanza: Stanza) => stanzas.push(stanza);
    const reader = createXmlReader({ onHeader: () => {}, onStanza, onFooter });
    reader.read(wire.subarray(0, cut));
    reader.read(wire.subarray(cut));
    assert.deepEqual(
      stanzas.map(({ xml }) => xml),
      ["<a x='1'>é👋<b/>&lt;</a>", "<p:m xmlns:p='urn:p'>日本</p:m>", '<a/>'],
    );
    assert.equal(stanzas[0]?.element.text, 'é👋<');
    assert.equal(stanzas[1]?.element.ns, 'urn:p');
    assert.equal(footers, 1);
  }
});
