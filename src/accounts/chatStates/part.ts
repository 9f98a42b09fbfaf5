/** What peers are doing while they write (XEP-0085): of the moment, so the rows last as long as the stream. */
import type { Element } from '@xmpp/client';

import type { Line, Part, PartKind } from '../part.ts';
import { readContent } from '../readContent.ts';
import { deleteChatStates, upsertChatState } from './store.ts';

/** Peers remembered; one that floods gets no more rows than these. */
const PEERS = 1_000;

const createPart = ({ accountId, store }: Line): Part => {
  const states = new Map<string, string>();

  const keep = (jid: string, state: string): void => {
    if (states.get(jid) === state || (!states.has(jid) && states.size >= PEERS)) return;
    states.set(jid, state);
    store({ write: (client) => upsertChatState(client, accountId, jid, state) });
  };

  return {
    features: ['http://jabber.org/protocol/chatstates'],
    async begin() {
      states.clear();
      store({ write: (client) => deleteChatStates(client, accountId) });
    },
    /** Whatever else is in the message is for others. */
    receive(stanza: Element) {
      const { from, type } = stanza.attrs;
      if (stanza.name !== 'message' || from === undefined || type === 'error') return null;
      const { chatState } = readContent(stanza);
      if (chatState === null) return null;
      const isLate = stanza.getChild('delay', 'urn:xmpp:delay') !== undefined;
      if (!isLate) keep(from, chatState);
      return null;
    },
  };
};

export const createChatStatesKind = (): PartKind => ({
  tables: [],
  selectBehind: async () => [],
  create: createPart,
});
