/** A gateway made of components keeps to the contract of all gateways. */
import { gatewayContract } from '../contracts/gateway.ts';
import { createPlainGateway } from '../support/componentDaemon.ts';
import { startComponentPeer } from '../support/componentPeer.ts';

gatewayContract({
  name: 'components',
  create: (parts) => createPlainGateway(parts),
  startPeer: startComponentPeer,
});
