/** What every account can do of itself, as it tells those who ask. */
import { commandsNs } from '../../xmpp/wire/command.ts';
import { discoInfoNs, discoItemsNs } from '../../xmpp/wire/disco.ts';
import { pingNs, timeNs, versionNs } from '../../xmpp/wire/entity.ts';
import { dataNs } from '../../xmpp/wire/form.ts';

const NS_CAPS = 'http://jabber.org/protocol/caps';
const NS_RECEIPTS = 'urn:xmpp:receipts';

/** What is answered here, and what the link does of itself with messages. */
export const FEATURES: readonly string[] = [
  NS_CAPS,
  commandsNs,
  discoInfoNs,
  discoItemsNs,
  versionNs,
  dataNs,
  pingNs,
  NS_RECEIPTS,
  timeNs,
];
