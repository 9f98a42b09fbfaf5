/** What contacts and services publish, as rows (XEP-0060, XEP-0163). */
import type { KindParts, Line, Part, PartKind } from '../part.ts';
import { readMessage } from '../stanzas.ts';
import { readNodeChange } from './events.ts';
import { updateItems } from './store.ts';

const createPubsubPart = (line: Line): Part => ({
  receive(stanza) {
    if (stanza.name !== 'message') return null;
    const change = readNodeChange(stanza, line.ownJid());
    if (change === null) return null;
    if (change === 'distrusted') {
      line.distrust(stanza, 'an event of another');
      return {};
    }
    // With text for people beside it, it is a message as well.
    const isMessage = stanza.getChild('body') !== undefined;
    const incoming = isMessage ? readMessage(stanza, line.ownJid()).incoming : null;
    return {
      ...(incoming && { incoming }),
      write: (client) => updateItems(client, line.accountId, change),
    };
  },
});

export const createPubsubKind = (_parts: KindParts): PartKind => ({
  tables: [],
  selectBehind: async () => [],
  create: createPubsubPart,
});
