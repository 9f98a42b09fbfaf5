/** Presence that is sent to one alone (RFC 6121 §4.6). */
import { xml } from '@xmpp/client';
import { formatElement } from './xml.ts';

/** @throws RejectError when the status has a character that XML does not allow */
export const formatDirectedPresence = (
  to: string,
  { show, status }: { show: string | null; status: string | null },
): string =>
  formatElement(
    xml('presence', { to }, show && xml('show', {}, show), status && xml('status', {}, status)),
  );

/** The same one is not available any more, or never was. */
export const formatDirectedUnavailable = (to: string): string =>
  formatElement(xml('presence', { to, type: 'unavailable' }));
