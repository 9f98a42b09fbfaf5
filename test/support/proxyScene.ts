/** A bytestreams proxy behind a real server, with two clients that use it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBytestreamsGateway } from '../../src/bytestreams/gateway.ts';
import { hashStream } from '../../src/bytestreams/wire/streamHash.ts';
import { startProsody } from '../../src/demo/prosody.ts';
import { type GatewayParts, startGateways } from '../../src/gateway.ts';
import { createLog } from '../../src/log.ts';
import { startEjabberd } from '../peers/ejabberd.ts';
import { connectRaw, type RawClient } from '../peers/rawClient.ts';
import { askStream } from '../peers/socks5Client.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import type { TestDaemon } from './daemon.ts';
import { type TestDatabase, testDatabase } from './database.ts';
import { PASSWORD, type Peer } from './scene.ts';

export const PROXY = 'proxy.localhost';
export const NS = 'http://jabber.org/protocol/bytestreams';
const SECRET = 'a secret of the proxy';

export type ProxyServer = {
  host: string;
  port: number;
  domain: string;
  componentPort: number | null;
  addAccount(name: string, password: string): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
};

export type ProxyScene = {
  db: TestDatabase;
  server: ProxyServer;
  daemon: TestDaemon;
  requester: RawClient;
  target: RawClient;
  /** Of the streamhost. */
  port: number;
  addClient(name: string): Promise<RawClient>;
  /** Asks the proxy for its address. */
  query(client: RawClient): Promise<Stanza>;
  /** Connects one leg of requester's stream to target, unless told otherwise. */
  connect(sid: string, target?: string): ReturnType<typeof askStream>;
  activate(sid: string, client?: RawClient, target?: string): Promise<Stanza>;
  /** Both legs, the target's first, and the activation. */
  open(sid: string): Promise<{ requester: Socket; target: Socket }>;
  startDaemon(): Promise<TestDaemon>;
  close(): Promise<void>;
};

/** Below the ports that outgoing connections get, so that none of those is in the way. */
export const findListenPort = async (): Promise<number> => {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((done) => {
      server.once('error', () => done(false));
      server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
    });
    if (isFree) return port;
  }
};

export const errorOf = (stanza: Stanza): string | undefined =>
  stanza.element.find('error')?.children.find(({ name }) => name !== 'text')?.name;

const startServer = (peer: Peer, dir: string): Promise<ProxyServer> => {
  const options = { dir, accounts: {}, componentSecrets: { [PROXY]: SECRET } };
  return peer.name === 'Prosody' ? startProsody(options) : startEjabberd(options);
};

const startProxy = async (db: TestDatabase): Promise<TestDaemon> => {
  const timing = { loginMs: 5_000, keepAliveMs: 500, patienceMs: 1_500 };
  const create = [(parts: GatewayParts) => createBytestreamsGateway(parts, timing)];
  const log = createLog(process.env.LOG_LEVEL || 'silent', 2);
  const options = { address: db.address, version: 'test', log, create };
  const runner = await startGateways(options, new AbortController().signal);
  let stopped: Promise<void> | null = null;
  const stop = () => {
    stopped ??= runner.stop();
    return stopped;
  };
  return { stop, [Symbol.asyncDispose]: stop };
};

/** @param columns of the streamhost */
export const createProxyScene = async (
  peer: Peer,
  columns: Record<string, number> = {},
  given: TestDatabase | null = null,
): Promise<ProxyScene> => {
  const dir = await mkdtemp(join(tmpdir(), 'rowgram-proxy-'));
  const db = given ?? (await testDatabase());
  const server = await startServer(peer, dir);
  const port = await findListenPort();
  await db.client.query(
    'insert into xmpp_components (domain, gateway, secret, srv_port) values ($1, $2, $3, $4)',
    [PROXY, 'bytestreams', SECRET, server.componentPort],
  );
  const values = { proxy: PROXY, bind_address: '127.0.0.1', port, ...columns };
  await db.client.query(
    `insert into bytestream_streamhosts (${Object.keys(values).join()})
    values (${Object.keys(values).map((_, at) => `$${at + 1}`)})`,
    Object.values(values),
  );
  const daemon = await startProxy(db);
  await db.until("select id from xmpp_components where state = 'online'");
  await db.until("select id from bytestream_streamhosts where state = 'listening'");
  const clients: RawClient[] = [];
  const sockets: Socket[] = [];

  const addClient = async (name: string) => {
    await server.addAccount(name, PASSWORD);
    const client = await connectRaw({
      host: server.host,
      port: server.port,
      jid: `${name}@${server.domain}`,
      password: PASSWORD,
    });
    clients.push(client);
    return client;
  };
  const requester = await addClient('requester');
  const target = await addClient('target');
  let ids = 0;
  const nextId = () => {
    ids += 1;
    return `q${ids}`;
  };

  const scene: ProxyScene = {
    db,
    server,
    daemon,
    requester,
    target,
    port,
    addClient,
    query: (client) =>
      client.iq(`<iq type='get' id='${nextId()}' to='${PROXY}'><query xmlns='${NS}'/></iq>`),
    async connect(sid, to = target.jid) {
      const asked = await askStream(port, hashStream(sid, requester.jid, to));
      sockets.push(asked.socket);
      return asked;
    },
    activate: (sid, client = requester, to = target.jid) =>
      client.iq(`<iq type='set' id='${nextId()}' to='${PROXY}'><query xmlns='${NS}' sid='${sid}'>
        <activate>${to}</activate></query></iq>`),
    async open(sid) {
      const [second, first] = [await scene.connect(sid), await scene.connect(sid)];
      const answer = await scene.activate(sid);
      if (answer.element.attrs.type !== 'result') throw new Error(answer.xml);
      return { requester: first.socket, target: second.socket };
    },
    startDaemon: () => startProxy(db),
    async close() {
      for (const socket of sockets) socket.destroy();
      for (const client of clients) client.destroy();
      await daemon.stop();
      await server.stop();
      await db[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return scene;
};
