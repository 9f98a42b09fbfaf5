/** The accounts keep to the contract of all gateways. */
import { createAccountsGateway } from '../../src/accounts/gateway.ts';
import { type GatewayPeer, gatewayContract } from '../contracts/gateway.ts';
import { startFakeServer } from '../peers/fakeServer.ts';
import type { FakeSession } from '../peers/fakeSession.ts';
import { QUICK } from '../support/daemon.ts';

const startPeer = async (): Promise<GatewayPeer> => {
  const server = await startFakeServer();
  const names = new Map<number, string>();
  const gone = new Set<FakeSession>();
  const watched = new Set<FakeSession>();
  const sessionsOf = (linkId: number): FakeSession[] =>
    server.sessions.filter((session) => {
      if (!watched.has(session)) session.closed.then(() => gone.add(session));
      watched.add(session);
      return session.state.name === names.get(linkId) && session.state.establishedAt !== null;
    });
  return {
    async insertLinks(db, count) {
      const rows = await db.rows<{ id: number; name: string }>(
        `insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host, srv_port)
        select true, 'user' || n || '@' || $1, 'secret', $2, $3 from generate_series(1, $4) n
        returning id, split_part(acc_jid, '@', 1) as name`,
        [server.domain, server.host, server.port, count],
      );
      for (const { id, name } of rows) names.set(id, name);
      return rows.map(({ id }) => id);
    },
    countOpened: (linkId) => sessionsOf(linkId).length,
    isOpen: (linkId) => sessionsOf(linkId).some((session) => !gone.has(session)),
    stop: () => server.stop(),
  };
};

gatewayContract({
  name: 'accounts',
  create: (parts) => createAccountsGateway(parts, QUICK),
  startPeer,
});
