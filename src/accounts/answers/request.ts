/** A request of others with its payload, as it came. */
import type { Element } from '@xmpp/client';
import type { Iq } from '../../xmpp/wire/iq.ts';

export type Request = Pick<Iq, 'id' | 'from'> & { type: 'get' | 'set'; payload: Element };
