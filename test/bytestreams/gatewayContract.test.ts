/** The proxy keeps to the contract of all gateways. */
import { createBytestreamsGateway } from '../../src/bytestreams/gateway.ts';
import { gatewayContract } from '../contracts/gateway.ts';
import { startComponentPeer } from '../support/componentPeer.ts';

gatewayContract({
  name: 'bytestreams',
  create: (parts) =>
    createBytestreamsGateway(parts, { loginMs: 5_000, keepAliveMs: 500, patienceMs: 1_500 }),
  startPeer: startComponentPeer,
});
