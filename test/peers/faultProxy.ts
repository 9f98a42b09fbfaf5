/** A TCP proxy of the loopback that fails the way networks do, when a test says so. */
import { once } from 'node:events';
import { createServer, type Server, Socket } from 'node:net';
import { createPump, type Direction, type Pace, type PumpMode } from './faultPump.ts';

export type Target = { host: string; port: number };

export type FaultProxy = {
  host: string;
  port: number;
  /** All connections ever taken, refused ones too, those open now, and the bytes passed on. */
  counts(): { connections: number; open: number; toServerBytes: number; toClientBytes: number };
  /** Settles when so many connections have been taken since the start. */
  waitForConnections(total: number, timeoutMs?: number): Promise<void>;
  /** Both sides of every connection see a reset. */
  reset(): void;
  /** Both sides of every connection see the other's end, after what was on its way. */
  close(): void;
  /**
   * Nothing passes, and new connections are taken in silence. With `hold` it is as if packets were
   * lost for a while: all of it passes after `off`. With `drop` it never does.
   */
  blackhole(mode: 'hold' | 'drop' | 'off'): void;
  /** One side of every connection is reset; the other stays open, and what it sends goes nowhere. */
  halfOpen(gone: 'server' | 'client'): void;
  /** The proxy stops reading in one direction, so that the sender's buffers fill. */
  stall(direction: Direction | 'off'): void;
  /** New connections are reset at once. */
  refuse(mode: 'on' | 'off'): void;
  /** Where new connections lead. */
  retarget(target: Target): void;
  /** Bytes pass in small pieces; `Infinity` for as they come. */
  trickle(bytesPerChunk: number, delayMs: number): void;
  stop(): Promise<void>;
};

/** What applies to every connection, now and to come. */
type Faults = {
  blackhole: 'hold' | 'drop' | 'off';
  stall: Direction | 'off';
  refuse: 'on' | 'off';
  pace: Pace;
  target: Target;
};

type Link = {
  /** Makes the faults of the proxy those of this connection. */
  apply(): void;
  reset(): void;
  close(): void;
  halfOpen(gone: 'server' | 'client'): void;
  bytes(direction: Direction): number;
  isOpen(): boolean;
};

type State = { links: Link[]; connections: number };

const HOST = '127.0.0.1';

export const startFaultProxy = async (options: { target: Target }): Promise<FaultProxy> => {
  const faults: Faults = {
    blackhole: 'off',
    stall: 'off',
    refuse: 'off',
    pace: { bytesPerChunk: Number.POSITIVE_INFINITY, delayMs: 0 },
    target: options.target,
  };
  const state: State = { links: [], connections: 0 };
  // Ends are passed on by us, not made up by the socket.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    state.connections += 1;
    if (faults.refuse === 'on') client.resetAndDestroy();
    else state.links.push(createLink(client, faults));
    server.emit('taken');
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  return createControls(server, state, faults);
};

const createControls = (server: Server, state: State, faults: Faults): FaultProxy => {
  const { links } = state;
  const set = (change: Partial<Faults>) => {
    Object.assign(faults, change);
    for (const link of links) link.apply();
  };
  const forEach = (act: (link: Link) => void) => {
    for (const link of links) act(link);
  };
  return {
    host: HOST,
    port: portOf(server),
    counts: () => ({
      connections: state.connections,
      open: links.filter((link) => link.isOpen()).length,
      toServerBytes: links.reduce((sum, link) => sum + link.bytes('toServer'), 0),
      toClientBytes: links.reduce((sum, link) => sum + link.bytes('toClient'), 0),
    }),
    waitForConnections: async (total, timeoutMs = 5_000) => {
      const signal = AbortSignal.timeout(timeoutMs);
      while (state.connections < total) await once(server, 'taken', { signal });
    },
    reset: () => forEach((link) => link.reset()),
    close: () => forEach((link) => link.close()),
    blackhole: (blackhole) => set({ blackhole }),
    halfOpen: (gone) => forEach((link) => link.halfOpen(gone)),
    stall: (stall) => set({ stall }),
    refuse: (refuse) => set({ refuse }),
    retarget: (target) => set({ target }),
    trickle: (bytesPerChunk, delayMs) => set({ pace: { bytesPerChunk, delayMs } }),
    async stop() {
      forEach((link) => link.reset());
      server.close();
      await once(server, 'close');
    },
  };
};

const portOf = (server: Server): number => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return address.port;
};

const createLink = (client: Socket, faults: Faults): Link => {
  const upstream = new Socket({ allowHalfOpen: true }).setNoDelay();
  const toServer = createPump(client, upstream);
  const toClient = createPump(upstream, client);
  const passResets = joinResets(client, upstream);
  let hasOpened = false;
  const open = () => {
    // A connection that was made in a blackhole reaches the server when that is over.
    if (!hasOpened) upstream.connect(faults.target);
    hasOpened = true;
  };
  const link: Link = {
    apply() {
      if (client.destroyed) return;
      if (faults.blackhole === 'off') open();
      toServer.set(modeOf('toServer', faults), faults.pace);
      toClient.set(modeOf('toClient', faults), faults.pace);
    },
    reset() {
      for (const socket of [client, upstream]) socket.resetAndDestroy();
    },
    close() {
      if (!hasOpened) upstream.destroy();
      for (const pump of [toServer, toClient]) pump.finish();
    },
    halfOpen(gone) {
      passResets.stop();
      for (const pump of [toServer, toClient]) pump.sever();
      (gone === 'server' ? upstream : client).resetAndDestroy();
    },
    bytes: (direction) => (direction === 'toServer' ? toServer : toClient).bytes(),
    isOpen: () => !client.destroyed,
  };
  link.apply();
  return link;
};

const modeOf = (direction: Direction, faults: Faults): PumpMode => {
  if (faults.blackhole !== 'off') return faults.blackhole;
  return faults.stall === direction ? 'hold' : 'pass';
};

/** What breaks on one side, a refused connection included, breaks on the other. */
const joinResets = (client: Socket, upstream: Socket): { stop(): void } => {
  let isJoined = true;
  const join = (socket: Socket, other: Socket) => {
    // Told by `close`, which follows.
    socket.on('error', () => {});
    socket.on('close', (hadError) => {
      if (hadError && isJoined) other.resetAndDestroy();
    });
  };
  join(client, upstream);
  join(upstream, client);
  return {
    stop() {
      isJoined = false;
    },
  };
};
