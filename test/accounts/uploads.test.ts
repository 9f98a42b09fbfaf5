/** Attachments through real upload services: the very bytes arrive; and services that refuse or break. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { type FakeServer, startFakeServer } from '../peers/fakeServer.ts';
import type { SlixmppClient } from '../peers/slixmpp.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import { spawnDaemon, startDaemon } from '../support/daemon.ts';
import { type TestDatabase, testDatabase } from '../support/database.ts';
import {
  createScene,
  describeEachWithSlixmpp,
  hasBody,
  insertInto,
  type Peer,
  type Scene,
  untilOnline,
} from '../support/scene.ts';

const NS_OOB = 'jabber:x:oob';
const NS_UPLOAD = 'urn:xmpp:http:upload:0';
const NS_STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas';
const NS_INFO = 'http://jabber.org/protocol/disco#info';
const NS_ITEMS = 'http://jabber.org/protocol/disco#items';

const urlOf = ({ element }: Stanza): string =>
  element.find('x', NS_OOB)?.find('url')?.text ?? 'no url';
const isOob = ({ element }: Stanza): boolean =>
  element.name === 'message' && element.find('x', NS_OOB) !== null;
const download = async (url: string): Promise<Buffer> => {
  const response = await fetch(url);
  assert.equal(response.status, 200, url);
  return Buffer.from(await response.arrayBuffer());
};

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'attachments-'));
  process.env.ROWGRAM_ATTACHMENT_DIR = dir;
});
after(() => rm(dir, { recursive: true, force: true }));

const holdUploads = (peer: Peer) => {
  let scene: Scene;
  let bob: SlixmppClient;
  let sender: number;
  before(async () => {
    scene = await createScene(peer);
    sender = await scene.addAccount('sender', { is_default: true });
    bob = await scene.addPeer('bob');
    await bob.do('receipts');
  });
  after(() => scene?.close());
  const bobJid = () => `bob@${scene.server.domain}`;

  test('bytes of a row arrive as a URL that gives those very bytes', async () => {
    const attachment = randomBytes(2_500_000);
    const id = await scene.insert({
      message_to: bobJid(),
      attachment,
      attachment_name: 'grüße & <co>.png',
    });
    const later = await scene.insert({ message_to: bobJid(), message_body: 'after the picture' });
    const stanza = await bob.waitFor(isOob, 20_000);
    assert.equal(stanza.element.find('body')?.text, urlOf(stanza));
    const response = await fetch(urlOf(stanza), { method: 'HEAD' });
    assert.equal(response.headers.get('content-type'), 'image/png');
    assert.deepEqual(await download(urlOf(stanza)), attachment);
    await bob.waitFor(hasBody('after the picture'));
    await scene.untilState(later, 'delivered');
    const [row] = await scene.db.rows('select oob_url, state from xmpp_tx_queue where id = $1', [
      id,
    ]);
    assert.deepEqual(row, { oob_url: urlOf(stanza), state: 'delivered' });
    const bodies = bob.stanzas.flatMap(({ element }) => element.find('body')?.text ?? []);
    assert.deepEqual(bodies, [urlOf(stanza), 'after the picture']);
  });

  test('a file below the directory arrives with its text, while rows to others go on', async () => {
    const bytes = randomBytes(300_000);
    await mkdir(join(dir, 'reports'), { recursive: true });
    await writeFile(join(dir, 'reports', 'a b.pdf'), bytes);
    await scene.insert({
      message_to: bobJid(),
      attachment_path: 'reports/a b.pdf',
      message_body: 'the report',
      account_id: sender,
    });
    const stanza = await bob.waitFor(hasBody('the report'), 20_000);
    assert.match(decodeURIComponent(urlOf(stanza)), /a.?b\.pdf$/);
    assert.deepEqual(await download(urlOf(stanza)), bytes);
  });

  test('what is too large, for the account or the service, and what leads out fail in words', async () => {
    const [small, large] = await Promise.all([
      scene.addAccount('small', { max_attachment_bytes: 20_000 }),
      scene.addAccount('large', { max_attachment_bytes: 900_000_000 }),
    ]);
    const rows: [columns: Record<string, unknown>, info: RegExp][] = [
      [{ attachment_path: '../secret' }, /leads out of ROWGRAM_ATTACHMENT_DIR/],
      [{ attachment_path: 'missing' }, /names no file/],
      [{ attachment: 'x', attachment_type: 'a/b\r\nCookie: c' }, /attachment_type/],
      [{ attachment: 'x', attachment_name: 'a\u{1}b' }, /not allowed in XML/],
      [
        { attachment: 'x', message_stanza: `<message to='${bobJid()}'><body>x</body></message>` },
        /message_stanza/,
      ],
    ];
    await writeFile(join(dir, 'large'), Buffer.alloc(30_000));
    rows.push([
      { attachment: Buffer.alloc(20_001), account_id: small },
      /is 20001 bytes, its account sends 20000/,
    ]);
    rows.push([
      { attachment_path: 'large', account_id: small },
      /is 30000 bytes, its account sends 20000/,
    ]);
    for (const [columns, expected] of rows) {
      const id = await scene.insert({ message_to: bobJid(), ...columns });
      const row = await scene.untilState(id, 'failed');
      assert.match(row.submission_info ?? '', expected);
    }
    // Beyond the default of either server, and without a block on the disk.
    await truncate(join(dir, 'large'), 200_000_000);
    const id = await scene.insert({
      message_to: bobJid(),
      attachment_path: 'large',
      account_id: large,
    });
    const row = await scene.untilState(id, 'failed');
    assert.match(row.submission_info ?? '', /the upload service takes \d+ at most/);
  });
};
describeEachWithSlixmpp('uploads', holdUploads);

/** A place for files that answers as it is told. */
const startFileServer = async (t: TestContext) => {
  const puts: { headers: IncomingMessage['headers']; bytes: Buffer }[] = [];
  const begun: (() => void)[] = [];
  const behaviour: { status(): number | 'silent' | Promise<number> } = { status: () => 201 };
  const server = createServer(async (request, response) => {
    for (const tell of begun.splice(0)) tell();
    const status = await behaviour.status();
    if (status === 'silent') return;
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    puts.push({ headers: request.headers, bytes: Buffer.concat(pieces) });
    response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo; // of TCP, so no string
  return {
    url: `http://127.0.0.1:${port}`,
    puts,
    behaviour,
    nextPut: () => new Promise<void>((done) => begun.push(done)),
  };
};

type Service = { maxSize?: number; slot?: (id: string) => string; isAbsent?: boolean };

/** A fake server with an upload service, whose files go to `url`. */
const startService = async (t: TestContext, url: string, service: Service) => {
  let slots = 0;
  const server: FakeServer = await startFakeServer({
    onStanza(session, { element }) {
      const { id = '', to = '', type } = element.attrs;
      if (element.name !== 'iq' || type !== 'get') return 'unhandled';
      const answer = (content: string) => {
        const { resumable } = session.state;
        if (resumable) resumable.receivedCount += 1;
        session.send(`<iq type='result' id='${id}' from='${to}'>${content}</iq>`);
        return 'handled' as const;
      };
      if (element.find('query', NS_ITEMS)) {
        const item = service.isAbsent ? '' : "<item jid='upload.fake.test'/>";
        return answer(`<query xmlns='${NS_ITEMS}'>${item}</query>`);
      }
      if (element.find('query', NS_INFO)) {
        const feature = to === 'upload.fake.test' ? `<feature var='${NS_UPLOAD}'/>` : '';
        const form =
          `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>` +
          `<value>${NS_UPLOAD}</value></field><field var='max-file-size'>` +
          `<value>${service.maxSize ?? 1_000_000}</value></field></x>`;
        return answer(`<query xmlns='${NS_INFO}'>${feature}${form}</query>`);
      }
      if (!element.find('request', NS_UPLOAD)) return 'unhandled';
      slots += 1;
      if (service.slot) {
        const { resumable } = session.state;
        if (resumable) resumable.receivedCount += 1;
        session.send(service.slot(id));
        return 'handled';
      }
      return answer(
        `<slot xmlns='${NS_UPLOAD}'><put url='${url}/put'>` +
          `<header name='Authorization'>Basic x</header><header name='Host'>evil.test</header>` +
          `<header name='Cookie'>a=b</header></put><get url='${url}/get'/></slot>`,
      );
    },
  });
  t.after(() => server.stop());
  return { server, slots: () => slots };
};

const addAccount = (db: TestDatabase, server: FakeServer) =>
  insertInto(db, 'xmpp_accounts', {
    enabled: true,
    acc_jid: 'rowgram@fake.test',
    acc_pass: 'secret',
    srv_host: server.host,
    srv_port: server.port,
  });

const open = async (t: TestContext, service: Service = {}, hasDaemon = true) => {
  const files = await startFileServer(t);
  const { server, slots } = await startService(t, files.url, service);
  const db = await testDatabase();
  const daemon = hasDaemon ? await startDaemon(db.address) : null;
  t.after(async () => {
    await daemon?.stop();
    await db[Symbol.asyncDispose]();
  });
  const account = await addAccount(db, server);
  if (daemon) await untilOnline(db, account);
  const insert = (columns: Record<string, unknown> = {}) =>
    insertInto(db, 'xmpp_tx_queue', {
      message_to: 'bob@fake.test',
      attachment: 'the bytes',
      ...columns,
    });
  const untilInfo = async (id: number, info: string) =>
    db.until<{ state: string }>(
      'select state from xmpp_tx_queue where id = $1 and submission_info like $2',
      [id, `%${info}%`],
    );
  const messages = () =>
    server.sessions.flatMap(({ stanzas }) =>
      stanzas.filter(({ element }) => element.name === 'message'),
    );
  return { db, server, files, slots, insert, untilInfo, messages };
};

test('without a service rows fail, and others go out', async (t) => {
  const { insert, untilInfo, server } = await open(t, { isAbsent: true });
  const id = await insert();
  const row = await untilInfo(id, 'has no upload service (XEP-0363)');
  assert.equal(row.state, 'failed');
  await insert({ attachment: null, message_body: 'plain' });
  await (await server.waitForSession(1)).next(hasBody('plain'));
});

test('only the headers of XEP-0363 §5 are sent on', async (t) => {
  const { insert, files, server } = await open(t);
  await insert({ attachment_name: 'a.txt' });
  const stanza = await (await server.waitForSession(1)).next(isOob);
  assert.equal(urlOf(stanza), `${files.url}/get`);
  const [put] = files.puts;
  assert.equal(put?.bytes.toString(), 'the bytes');
  const { authorization, cookie, host, 'content-type': type } = put?.headers ?? {};
  assert.deepEqual([authorization, cookie, type], ['Basic x', 'a=b', 'text/plain']);
  assert.equal(`http://${host}`, files.url);
});

test('a file beyond what the service takes is not asked for', async (t) => {
  const { insert, untilInfo, slots } = await open(t, { maxSize: 5 });
  const row = await untilInfo(await insert(), 'is 9 bytes, the upload service takes 5 at most');
  assert.deepEqual([row.state, slots()], ['failed', 0]);
});

test('a refused slot is the reason of the row', async (t) => {
  const error = (id: string) =>
    `<iq type='error' id='${id}' from='upload.fake.test'><error type='modify'>` +
    `<not-acceptable xmlns='${NS_STANZAS}'/><text xmlns='${NS_STANZAS}'>File too large</text>` +
    `<file-too-large xmlns='${NS_UPLOAD}'><max-file-size>1</max-file-size></file-too-large></error></iq>`;
  const { insert, untilInfo } = await open(t, { slot: error });
  const row = await untilInfo(await insert(), 'not-acceptable (File too large)');
  assert.equal(row.state, 'failed');
});

test('a slot that leads elsewhere than https, or this machine for a private server, is not used', async (t) => {
  const slot = (id: string) =>
    `<iq type='result' id='${id}' from='upload.fake.test'><slot xmlns='${NS_UPLOAD}'>` +
    `<put url='http://files.test/put'/><get url='https://files.test/get'/></slot></iq>`;
  const { insert, untilInfo } = await open(t, { slot });
  const row = await untilInfo(await insert(), 'gave no address that may be used');
  assert.equal(row.state, 'failed');
});

test('HTTP 4xx and redirects fail the row, 5xx and broken connections are tried again', async (t) => {
  const { insert, untilInfo, files, server, messages } = await open(t);
  for (const status of [403, 413, 302]) {
    files.behaviour.status = () => status;
    const row = await untilInfo(await insert(), `answered with HTTP ${status}`);
    assert.equal(row.state, 'failed');
  }
  assert.equal(files.puts.length, 3);
  files.behaviour.status = () => 503;
  const id = await insert();
  const row = await untilInfo(id, 'answered with HTTP 503; the upload is tried again');
  assert.equal(row.state, 'queued');
  files.behaviour.status = () => 201;
  await (await server.waitForSession(1)).next(isOob);
  assert.equal(messages().length, 1);
});

test('rows to one recipient keep their order behind an upload, and two go at a time', async (t) => {
  const { insert, files, server, messages, slots } = await open(t);
  files.behaviour.status = () => 'silent';
  for (const name of ['bob', 'carol', 'dave']) await insert({ message_to: `${name}@fake.test` });
  await insert({ attachment: null, message_body: 'behind' });
  await insert({ attachment: null, message_body: 'free', message_to: 'eve@fake.test' });
  const session = await server.waitForSession(1);
  await session.next(hasBody('free'));
  assert.equal(messages().length, 1);
  while (slots() < 2) await new Promise((done) => setTimeout(done, 10));
  await insert({ attachment: null, message_body: 'later', message_to: 'eve@fake.test' });
  await session.next(hasBody('later'));
  assert.equal(slots(), 2);
});

test('a row that is cancelled while its file is under way is not sent', async (t) => {
  const { insert, db, files, server, messages } = await open(t);
  const gate = Promise.withResolvers<number>();
  files.behaviour.status = () => gate.promise;
  const begun = files.nextPut();
  const id = await insert();
  await begun;
  await db.rows("update xmpp_tx_queue set state = 'cancelled' where id = $1", [id]);
  gate.resolve(201);
  await insert({ attachment: null, message_body: 'after it' });
  await (await server.waitForSession(1)).next(hasBody('after it'));
  assert.equal(messages().filter(isOob).length, 0);
  const [row] = await db.rows('select state, oob_url from xmpp_tx_queue where id = $1', [id]);
  assert.deepEqual(row, { state: 'cancelled', oob_url: null });
});

test('a daemon killed during an upload sends the message exactly once', async (t) => {
  const { insert, db, files, messages, server } = await open(t, {}, false);
  files.behaviour.status = () => 'silent';
  await using first = spawnDaemon(db.address);
  await db.until("select from xmpp_accounts where state = 'online'");
  const begun = files.nextPut();
  const id = await insert();
  await begun;
  await db.until('select from xmpp_tx_queue where id = $1 and submission_info is not null', [id]);
  first.kill('SIGKILL');
  await first.ended;
  files.behaviour.status = () => 201;
  await using second = spawnDaemon(db.address);
  await db.until("select from xmpp_tx_queue where id = $1 and state = 'submitted'", [id], 30_000);
  assert.deepEqual(messages().map(urlOf), [`${files.url}/get`]);
  assert.equal(files.puts.length, 1);
  // Sent again, it is not uploaded again.
  server.change({ silentAt: 'acks', resumption: 'refused' });
  const again = await insert();
  await db.until('select from xmpp_tx_queue where id = $1 and oob_url is not null', [again]);
  assert.equal(files.puts.length, 2);
  second.kill('SIGKILL');
  await second.ended;
  server.change({ silentAt: null });
  await using _third = spawnDaemon(db.address);
  await db.until("select from xmpp_tx_queue where id = $1 and state = 'submitted'", [again]);
  assert.equal(files.puts.length, 2);
});
