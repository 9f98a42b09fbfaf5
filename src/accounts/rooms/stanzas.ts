/** What tells a message to all in a room from another, besides its content. */
import type { Element } from '@xmpp/client';
import { readOccupantJid, readSubject } from '../../xmpp/wire/muc.ts';

const NS_STANZA_ID = 'urn:xmpp:sid:0';

export type RoomMessage = {
  nick: string | null;
  /** The subject of the room, when the message is there to set it. */
  newSubject: string | null;
  hasBody: boolean;
  /** The sender's own ids, of which a room may change the first. */
  ids: string[];
};

export const readRoomMessage = (stanza: Element): RoomMessage => {
  const { id, from } = stanza.attrs;
  const originId = stanza.getChild('origin-id', NS_STANZA_ID)?.attrs.id;
  return {
    nick: readOccupantJid(from)?.nick ?? null,
    newSubject: readSubject(stanza),
    hasBody: stanza.getChild('body') !== undefined,
    ids: [originId, id].flatMap((each) => each ?? []),
  };
};
