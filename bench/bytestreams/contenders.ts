/** The proxies that are compared, each behind its server, and a relay without one. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hashStream } from '../../src/bytestreams/wire/streamHash.ts';
import { connect } from '../../src/db/connect.ts';
import { migrate } from '../../src/db/migrate.ts';
import { startProsody } from '../../src/demo/prosody.ts';
import { findEjabberd, startEjabberd } from '../../test/peers/ejabberd.ts';
import { connectRaw, type RawClient } from '../../test/peers/rawClient.ts';
import { askStream, openSocket } from '../../test/peers/socks5Client.ts';
import { spawnDaemon } from '../../test/support/daemon.ts';
import { findListenPort, NS } from '../../test/support/proxyScene.ts';
import { type Lab, until } from '../lab.ts';

export type Stream = { from: Socket; to: Socket };

export type Contender = {
  name: string;
  pid: number;
  /** Of the listener. */
  port: number;
  open(): Promise<Stream>;
};

const PASSWORD = 'a secret of the bench';
const HOST = '127.0.0.1';

type Server = {
  host: string;
  port: number;
  addAccount(name: string, password: string): Promise<void>;
};

const login = async (lab: Lab, server: Server, name: string): Promise<RawClient> => {
  await server.addAccount(name, PASSWORD);
  const { host, port } = server;
  const client = await connectRaw({ host, port, jid: `${name}@localhost`, password: PASSWORD });
  lab.use({ close: async () => client.destroy() });
  return client;
};

/** Opens streams as two clients do: both connect, the target first, and the requester activates. */
const createOpener = async (lab: Lab, server: Server, proxy: string, port: number) => {
  const requester = await login(lab, server, 'requester');
  const target = await login(lab, server, 'target');
  let count = 0;
  return async (): Promise<Stream> => {
    count += 1;
    const sid = `${proxy}${count}`;
    const hash = hashStream(sid, requester.jid, target.jid);
    const { socket: to } = await askStream(port, hash);
    const { socket: from } = await askStream(port, hash);
    const answer = await requester.iq(`<iq type='set' id='${sid}' to='${proxy}'>
      <query xmlns='${NS}' sid='${sid}'><activate>${target.jid}</activate></query></iq>`);
    if (answer.element.attrs.type !== 'result') throw new Error(answer.xml);
    return { from, to };
  };
};

export const openPipe = async (lab: Lab): Promise<Contender> => {
  const port = await findListenPort();
  const child = fork(fileURLToPath(new URL('pipeRelay.ts', import.meta.url)), [`${port}`]);
  await once(child, 'message');
  lab.use({ close: async () => child.disconnect() });
  return {
    name: 'pipe()',
    pid: child.pid ?? 0,
    port,
    open: async () => ({ to: await openSocket(port), from: await openSocket(port) }),
  };
};

const PROXY = 'proxy.localhost';
const BUILT_IN = 'proxy65.localhost';
const SECRET = 'a secret of the proxy';

const openProsody = async (lab: Lab, settings = '') => {
  const prosody = await startProsody({
    dir: join(lab.dir, 'prosody'),
    accounts: {},
    componentSecrets: { [PROXY]: SECRET },
    settings,
  });
  lab.use({ close: () => prosody.stop() });
  return prosody;
};

/** @param columns of the streamhost */
export const openRowgram = async (
  lab: Lab,
  columns: Record<string, number> = {},
): Promise<Contender> => {
  const prosody = await openProsody(lab);
  const address = await lab.createDatabase();
  await migrate(address);
  const client = await connect(address, 'bench');
  lab.use({ close: () => client.end() });
  const port = await findListenPort();
  await client.query(
    `insert into xmpp_components (domain, gateway, secret, srv_port) values ($1, 'bytestreams', $2, $3)`,
    [PROXY, SECRET, prosody.componentPort],
  );
  const values = { proxy: PROXY, bind_address: HOST, port, ...columns };
  await client.query(
    `insert into bytestream_streamhosts (${Object.keys(values).join()})
    values (${Object.keys(values).map((_, at) => `$${at + 1}`)})`,
    Object.values(values),
  );
  const daemon = spawnDaemon(address, { ROWGRAM_GATEWAYS: 'bytestreams', LOG_LEVEL: 'warn' });
  lab.use({ close: () => daemon[Symbol.asyncDispose]() });
  await until(client, "select exists (select from xmpp_components where state = 'online')");
  await until(
    client,
    "select exists (select from bytestream_streamhosts where state = 'listening')",
  );
  const open = await createOpener(lab, prosody, PROXY, port);
  return { name: 'rowgram', pid: daemon.child.pid ?? 0, port, open };
};

export const openProsodyProxy = async (lab: Lab): Promise<Contender> => {
  const port = await findListenPort();
  const prosody = await openProsody(
    lab,
    `proxy65_ports = { ${port} }
    proxy65_interfaces = { "${HOST}" }
    Component "${BUILT_IN}" "proxy65"
      proxy65_address = "${HOST}"
      proxy65_acl = { "localhost" }`,
  );
  const open = await createOpener(lab, prosody, BUILT_IN, port);
  return { name: 'Prosody', pid: prosody.pid, port, open };
};

/** @returns null where it is not installed */
export const openEjabberdProxy = async (lab: Lab): Promise<Contender | null> => {
  if (findEjabberd() === null) return null;
  const port = await findListenPort();
  const ejabberd = await startEjabberd({
    dir: join(lab.dir, 'ejabberd'),
    accounts: {},
    modules: { mod_proxy65: { host: BUILT_IN, ip: HOST, hostname: HOST, port } },
  });
  lab.use({ close: () => ejabberd.stop() });
  const open = await createOpener(lab, ejabberd, BUILT_IN, port);
  return { name: 'ejabberd', pid: ejabberd.pid, port, open };
};
