/** A gateway made of components keeps to the contract of all gateways. */
import { type GatewayPeer, gatewayContract } from '../contracts/gateway.ts';
import { startFakeComponentServer } from '../peers/fakeComponentServer.ts';
import { createPlainGateway } from '../support/componentDaemon.ts';

const startPeer = async (): Promise<GatewayPeer> => {
  const server = await startFakeComponentServer();
  const domains = new Map<number, string>();
  const streamsOf = (linkId: number) =>
    server.streams.filter(
      ({ domain, isEstablished }) => isEstablished && domain === domains.get(linkId),
    );
  return {
    async insertLinks(db, count) {
      const rows = await db.rows<{ id: number; domain: string }>(
        `insert into xmpp_components (domain, gateway, secret, srv_host, srv_port)
        select 'c' || n || '.fake.test', 'bytestreams', 'secret', $1, $2 from generate_series(1, $3) n
        returning id, domain`,
        [server.host, server.port, count],
      );
      for (const { id, domain } of rows) domains.set(id, domain);
      return rows.map(({ id }) => id);
    },
    countOpened: (linkId) => streamsOf(linkId).length,
    isOpen: (linkId) => streamsOf(linkId).some(({ isOpen }) => isOpen),
    stop: () => server.stop(),
  };
};

gatewayContract({
  name: 'components',
  create: (parts) => createPlainGateway(parts),
  startPeer,
});
