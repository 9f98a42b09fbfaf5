/** What a presence from a room changes for one who is in it, or wants to be. */
import type { StanzaError } from '../../xmpp/wire/error.ts';
import type { OccupantPresence, RoomPresence } from '../../xmpp/wire/muc.ts';

export type Occupant = Pick<
  OccupantPresence,
  'jid' | 'role' | 'affiliation' | 'show' | 'status' | 'occupantId'
> & { nick: string };

/** Why the account is not in a room, and whether that may pass by itself. */
export type Setback = { mayPass: boolean; info: string };

export type RoomChange =
  /** The account is in, or has changed its nick or role. `isNew` when there was no such room before. */
  | { kind: 'in'; occupant: Occupant; isNew: boolean }
  | { kind: 'present'; occupant: Occupant }
  | { kind: 'absent'; nick: string }
  | { kind: 'renamed'; from: string; to: string }
  | ({ kind: 'out' } & Setback)
  /** The room did not take another nick; the account stays in it. */
  | { kind: 'nickRefused'; info: string };

/** How the account stands to the room. */
export type Standing = {
  /** The nick it has, or has asked for. */
  nick: string;
  isIn: boolean;
  hasPassword: boolean;
  /** It was in the room a moment ago, so that its last session may still hold the nick. */
  mayHaveGhost: boolean;
};

/** Status codes. Source: XEP-0045 §15.6. */
const OWN = 110;
const CREATED = 201;
const BANNED = 301;
const KICKED = 307;
const NO_LONGER_ADMITTED = 321;
const MEMBERS_ONLY = 322;
const SHUTDOWN = 332;
const TECHNICAL = 333;

const PASSING = new Set([
  'remote-server-not-found',
  'remote-server-timeout',
  // Rooms that are full say so.
  'service-unavailable',
  'resource-constraint',
]);

const because = (text: string, reason: string | null): string =>
  reason ? `${text}: ${reason}` : text;

const conditionText = (condition: string, standing: Standing): string => {
  switch (condition) {
    case 'not-authorized':
      return standing.hasPassword
        ? 'the password is not that of the room'
        : 'the room wants a password';
    case 'registration-required':
      return 'the room is for members only';
    case 'forbidden':
      return 'the account is banned from the room';
    case 'conflict':
      return standing.mayHaveGhost
        ? `the nick '${standing.nick}' is taken, perhaps by the last session of the account`
        : `the nick '${standing.nick}' is taken`;
    case 'item-not-found':
      return 'there is no such room, or it is locked';
    case 'not-allowed':
      return 'there is no such room, and the account may not make it';
    case 'not-acceptable':
      return 'the room wants the account to use its registered nick';
    case 'service-unavailable':
      return 'the room is full or not there';
    default:
      return condition;
  }
};

/** Source: XEP-0045 §7.2. */
export const readRefusal = (
  { condition, type, text }: StanzaError,
  standing: Standing,
): Setback => ({
  mayPass:
    type === 'wait' ||
    PASSING.has(condition) ||
    (condition === 'conflict' && standing.mayHaveGhost),
  info: because(conditionText(condition, standing), text),
});

const by = (text: string, { actor, reason }: OccupantPresence): string =>
  because(actor === null ? text : `${text} by ${actor}`, reason);

const readExit = (presence: OccupantPresence): Setback => {
  const { statusCodes, destroyed, status } = presence;
  if (destroyed) {
    const alternate = destroyed.alternate ? `, go to ${destroyed.alternate}` : '';
    return {
      mayPass: false,
      info: because(`the room was destroyed${alternate}`, destroyed.reason),
    };
  }
  const has = (code: number): boolean => statusCodes.includes(code);
  if (has(BANNED)) return { mayPass: false, info: by('banned', presence) };
  // Before 307, which comes along with it.
  if (has(TECHNICAL)) {
    return { mayPass: true, info: by('removed for technical reasons', presence) };
  }
  if (has(KICKED)) return { mayPass: false, info: by('kicked', presence) };
  if (has(NO_LONGER_ADMITTED)) return { mayPass: false, info: by('no longer a member', presence) };
  if (has(MEMBERS_ONLY)) {
    return { mayPass: false, info: by('the room is for members only now', presence) };
  }
  if (has(SHUTDOWN)) return { mayPass: true, info: by('the room is shut down', presence) };
  return { mayPass: true, info: because('the room took the account out', status) };
};

/** @returns null when it changes nothing */
export const changeRoom = (presence: RoomPresence, standing: Standing): RoomChange | null => {
  if (presence.type === 'error') {
    const refusal = readRefusal(presence.error, standing);
    return standing.isIn
      ? { kind: 'nickRefused', info: refusal.info }
      : { kind: 'out', ...refusal };
  }
  const { type, nick, newNick, statusCodes } = presence;
  if (nick === null) return null;
  // Not every room says which presence is one's own.
  const isOwn = statusCodes.includes(OWN) || nick === standing.nick;
  if (type === 'unavailable') {
    if (newNick !== null) return { kind: 'renamed', from: nick, to: newNick };
    if (!isOwn) return { kind: 'absent', nick };
    // The end of a session before this one.
    return standing.isIn ? { kind: 'out', ...readExit(presence) } : null;
  }
  const { jid, role, affiliation, show, status, occupantId } = presence;
  const occupant = { nick, jid, role, affiliation, show, status, occupantId };
  if (!isOwn) return { kind: 'present', occupant };
  return { kind: 'in', occupant, isNew: statusCodes.includes(CREATED) };
};

const LONGEST_MS = 300_000;

/** Half fixed and half random, so that those who lost a room do not come back all at once. */
export const decideRetryMs = (failures: number, firstMs: number, random: number): number =>
  Math.round(Math.min(LONGEST_MS, firstMs * 2 ** Math.min(failures, 16)) * (0.5 + random / 2));
