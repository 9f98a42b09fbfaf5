/** A daemon whose gateway serves components and does little else: what the shared part does of itself. */
import type { Component, Service } from '../../src/components/component.ts';
import { createComponentGateway } from '../../src/components/gateway.ts';
import type { DatabaseAddress } from '../../src/db/connect.ts';
import { type Gateway, type GatewayParts, startGateways } from '../../src/gateway.ts';
import { createLog } from '../../src/log.ts';
import type { TestDaemon } from './daemon.ts';

/** How long silences are borne, shortened so that tests need not wait. */
const QUICK = { loginMs: 5_000, keepAliveMs: 500, patienceMs: 1_500 };

const IDENTITY = { category: 'proxy', type: 'bytestreams', lang: null, name: 'A proxy' };

/** The name is one that rows may have. */
export const createPlainGateway = (
  parts: GatewayParts,
  serve: (component: Component) => Partial<Service> = () => ({}),
): Gateway =>
  createComponentGateway(parts, {
    name: 'bytestreams',
    serve: (component) => ({
      describe: () => ({ identities: [IDENTITY], features: ['urn:example:feature'] }),
      ...serve(component),
    }),
    timing: QUICK,
  });

export const startComponentDaemon = async (
  address: DatabaseAddress,
  serve?: (component: Component) => Partial<Service>,
  logLevel = process.env.LOG_LEVEL || 'silent',
): Promise<TestDaemon> => {
  const create = [(parts: GatewayParts) => createPlainGateway(parts, serve)];
  const options = { address, version: 'test', log: createLog(logLevel, 2), create };
  const runner = await startGateways(options, new AbortController().signal);
  let stopped: Promise<void> | null = null;
  const stop = () => {
    stopped ??= runner.stop();
    return stopped;
  };
  return { stop, [Symbol.asyncDispose]: stop };
};
