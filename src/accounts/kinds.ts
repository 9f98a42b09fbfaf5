/** The parts that every account has, in the order in which they are asked what a stanza is to them. */
import { createAnswersKind } from './answers/part.ts';
import { createArchiveKind } from './archive/part.ts';
import { createChatStatesKind } from './chatStates/part.ts';
import { createContactsKind } from './contacts/part.ts';
import type { KindParts, PartKind } from './part.ts';
import { createPresencesKind } from './presences/part.ts';
import { createProfilesKind } from './profiles/part.ts';
import { createPubsubKind } from './pubsub/part.ts';
import { createRequestsKind } from './requests/part.ts';
import { createRoomsKind } from './rooms/part.ts';
import { createUploadsKind } from './uploads/part.ts';

export const createKinds = (parts: KindParts): PartKind[] => [
  // Before presences, which would take what occupants show.
  createRoomsKind(parts),
  // Before contacts: from the very beginning of a stream on, presences are told.
  createPresencesKind(),
  createChatStatesKind(),
  createContactsKind(),
  createProfilesKind(parts),
  // Behind rooms: nothing is uploaded for one that the account is not in.
  createUploadsKind(parts),
  createRequestsKind(parts),
  createPubsubKind(parts),
  // Archive results that no other part has asked for are not believed.
  createArchiveKind(parts),
  // What is left of requests.
  createAnswersKind(parts),
];
