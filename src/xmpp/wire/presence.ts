/** Presence: how available one is (RFC 6121 §4.7), and what is sent to one alone (§4.6). */
import type { Element } from '@xmpp/client';
import { formatTag, formatTextTag } from './tag.ts';

export type Availability = { show: string | null; status: string | null };

const shows = ['away', 'chat', 'dnd', 'xa'];

/** What RFC 6121 §4.7.2.1 does not know is not shown. */
export const readAvailability = (presence: Element): Availability => {
  const show = presence.getChildText('show')?.trim() ?? '';
  return {
    show: shows.includes(show) ? show : null,
    status: presence.getChildText('status') || null,
  };
};

/** @throws RejectError when the status has a character that XML does not allow */
export const formatAvailability = ({ show, status }: Availability): string =>
  formatTextTag('show', show || null) + formatTextTag('status', status || null);

/** @throws RejectError when the status has a character that XML does not allow */
export const formatDirectedPresence = (to: string, availability: Availability): string =>
  formatTag('presence', { to }, formatAvailability(availability));

/** The same one is not available any more, or never was. */
export const formatDirectedUnavailable = (to: string): string =>
  formatTag('presence', { to, type: 'unavailable' });
