/** Profiles: the account's own is published when its row changes, those of contacts are fetched. */
import type { Element } from '@xmpp/client';
import { createLimit } from '../../db/limit.ts';
import { errorText, RejectError, RetryError } from '../../errors.ts';
import { avatarMetadataNs, formatPhotoHash, readPhotoHash } from '../../xmpp/wire/avatar.ts';
import { bareJid, readBareJid } from '../../xmpp/wire/jid.ts';
import { mucUserNs } from '../../xmpp/wire/muc.ts';
import { readPubsubEvent } from '../../xmpp/wire/pubsub.ts';
import {
  formatVcardQuery,
  readVcard,
  rewriteVcard,
  type VcardFields,
} from '../../xmpp/wire/vcard.ts';
import type { KindParts, Line, Part, PartKind } from '../part.ts';
import { type Avatar, hashPicture, makeAvatar, readPictureType } from './picture.ts';
import {
  chooseAvatar,
  formatDataPublish,
  formatDataQuery,
  formatMetadataPublish,
  formatMetadataQuery,
  PNG,
  readDataAnswer,
  readMetadataAnswer,
} from './stanzas.ts';
import {
  type Fetched,
  type OwnProfile,
  selectBehind,
  selectContacts,
  selectContactVersion,
  selectOwnAvatar,
  selectOwnProfile,
  updateFailed,
  updateFetched,
  updateOwnProfile,
} from './store.ts';

const FETCHES = 5;
/** A profile that ends the stream, or is never answered, is not asked for again and again. */
const TRIES = 3;
/** What an answer can carry: a stanza of ours may have 1 MiB, and base64 takes four thirds. */
const AVATAR_BYTES = 750_000;
/** The decoder does not take more; asking the database for it would be in vain. */
const SOURCE_BYTES = 10_000_000;

const NOTHING: VcardFields = {
  fullName: null,
  nickname: null,
  email: null,
  url: null,
  description: null,
};

/** What the network has last said of a contact's picture, by either way; undefined for nothing yet. */
type Known = {
  /** As in the row. */
  jid: string;
  hash: string;
  presence: string | undefined;
  event: string | undefined;
};

type Picture = Fetched['avatar'];

const createPart = (line: Line): Part => {
  const { db, accountId } = line;
  const limit = createLimit(FETCHES);
  /** By bare JID. */
  const contacts = new Map<string, Known>();
  const tries = new Map<string, number>();
  /** Contacts whose picture has changed, by bare JID. */
  const changed = new Set<string>();
  /** Rows that are being fetched, and why that was asked for anew meanwhile. */
  const fetching = new Map<string, { isAskedAgain: boolean; hasChanged: boolean }>();
  let hasProfile = false;
  /** Of the published picture; null for not known yet. */
  let ownHash: string | null = null;

  const ask = (to: string | null, payload: string): Promise<Element> =>
    line.request({ to, type: 'get', payload });

  const set = async (payload: string): Promise<void> => {
    const sizeBytes = Buffer.byteLength(payload);
    const maxBytes = line.account().maxStanzaBytes;
    // Beyond it the server would end the stream.
    if (sizeBytes + 200 > maxBytes) {
      throw new RejectError(
        `the profile takes ${sizeBytes} bytes, its account sends ${maxBytes} at most (max_stanza_bytes)`,
        'policy-violation',
      );
    }
    await line.request({ to: null, type: 'set', payload });
  };

  /** @returns null where there is none, or it is not for us to see */
  const askOrNull = async (to: string | null, payload: string): Promise<Element | null> => {
    try {
      return await ask(to, payload);
    } catch (error) {
      if (error instanceof RejectError) return null;
      throw error;
    }
  };

  const makeOwnAvatar = async ({ avatarBytes }: OwnProfile): Promise<Avatar | null> => {
    if (avatarBytes === null) return null;
    if (avatarBytes > SOURCE_BYTES) {
      throw new RejectError(`the picture is more than ${SOURCE_BYTES} bytes`, 'bad-request');
    }
    const bytes = await selectOwnAvatar(db, accountId);
    return bytes && makeAvatar(bytes);
  };

  /** @returns what is to be said of it; a server without PEP still has the vCard */
  const publishAvatar = async (avatar: Avatar | null, hadOne: boolean): Promise<string | null> => {
    if (!avatar && !hadOne) return null;
    try {
      if (avatar) await set(formatDataPublish(avatar));
      await set(formatMetadataPublish(avatar));
      return null;
    } catch (error) {
      if (!(error instanceof RejectError)) throw error;
      return `the picture is in the vCard alone: ${error.message}`;
    }
  };

  const publish = async (profile: OwnProfile): Promise<{ hash: string; info: string | null }> => {
    const avatar = await makeOwnAvatar(profile);
    // What is there must be known, or it would be lost: only that there is nothing is an answer.
    const answer = await ask(null, formatVcardQuery()).catch((error: unknown) => {
      if (error instanceof RejectError && error.condition === 'item-not-found') return null;
      throw error;
    });
    const photo = avatar && { mediaType: PNG, data: avatar.bytes };
    await set(rewriteVcard(answer?.getChild('vCard'), { fields: profile, photo }));
    const info = await publishAvatar(avatar, profile.avatarHash !== null);
    return { hash: avatar?.hash ?? '', info };
  };

  const syncOwn = async (): Promise<void> => {
    const profile = await selectOwnProfile(db, accountId);
    hasProfile = profile !== null;
    if (profile?.state !== 'pending') return;
    const { version, avatarHash } = profile;
    try {
      const { hash, info } = await publish(profile);
      ownHash = hash;
      await updateOwnProfile(db, accountId, version, {
        state: 'published',
        info,
        avatarHash: hash || null,
      });
      line.log.info({ avatar: hash }, 'profile published');
      line.refreshPresence();
    } catch (error) {
      const info = errorText(error);
      const isVerdict = error instanceof RejectError;
      if (!isVerdict && !(error instanceof RetryError)) throw error;
      line.log.info({ reason: info }, 'profile not published');
      const state = isVerdict ? 'failed' : 'pending';
      await updateOwnProfile(db, accountId, version, { state, info, avatarHash });
    }
  };

  /** A picture by publish-subscribe. @returns undefined where that cannot be read, null for none */
  const fetchPublished = async (jid: string): Promise<Buffer | null | undefined> => {
    const answer = await askOrNull(jid, formatMetadataQuery());
    const metadata = answer && readMetadataAnswer(answer);
    if (!metadata) return undefined;
    const { info } = metadata;
    if (!info) return null;
    if ((info.sizeBytes ?? 0) > AVATAR_BYTES) return undefined;
    const data = await askOrNull(jid, formatDataQuery(info.hash));
    const bytes = data && readDataAnswer(data, info.hash);
    // Bytes with another hash are not the picture that was announced.
    return bytes && hashPicture(bytes) === info.hash ? bytes : undefined;
  };

  const verifyPicture = async (bytes: Buffer): Promise<Picture> => {
    if (bytes.length > AVATAR_BYTES) {
      throw new RejectError(`the picture is more than ${AVATAR_BYTES} bytes`, 'policy-violation');
    }
    return { bytes, type: await readPictureType(bytes), hash: hashPicture(bytes) };
  };

  const fetchProfile = async (jid: string): Promise<Fetched> => {
    const published = await fetchPublished(jid);
    const answer = await ask(jid, formatVcardQuery()).catch((error: unknown) => {
      if (error instanceof RejectError && published) return null;
      throw error;
    });
    const vcard = readVcard(answer?.getChild('vCard'));
    const bytes = published === undefined ? (vcard?.photo?.data ?? null) : published;
    const fields = vcard?.fields ?? NOTHING;
    try {
      const isEmpty = !bytes && Object.values(fields).every((field) => field === null);
      const info = isEmpty ? 'there is no profile' : null;
      return { fields, avatar: bytes && (await verifyPicture(bytes)), info };
    } catch (error) {
      if (!(error instanceof RejectError)) throw error;
      return { fields, avatar: null, info: errorText(error) };
    }
  };

  /** @returns false when it is to be tried again later */
  const fetchContact = async (jid: string): Promise<boolean> => {
    const version = await selectContactVersion(db, accountId, jid);
    if (version === null) return true;
    try {
      const address = bareJid(jid);
      const fetched = await fetchProfile(address);
      const known = contacts.get(address);
      if (known) known.hash = fetched.avatar?.hash ?? '';
      await updateFetched(db, accountId, jid, version, fetched);
      tries.delete(jid);
      line.log.debug({ peer: jid }, 'profile fetched');
      return true;
    } catch (error) {
      const count = (tries.get(jid) ?? 0) + 1;
      tries.set(jid, count);
      const isVerdict = error instanceof RejectError;
      if (!isVerdict && !(error instanceof RetryError)) throw error;
      // One that waits is looked at again with the next sync.
      if (!isVerdict && count < TRIES) return false;
      tries.delete(jid);
      await updateFailed(db, accountId, jid, version, errorText(error));
      return true;
    }
  };

  const beginFetch = (jid: string, hasChanged: boolean): void => {
    const busy = fetching.get(jid);
    if (busy) {
      busy.isAskedAgain = true;
      busy.hasChanged ||= hasChanged;
      return;
    }
    const own = { isAskedAgain: false, hasChanged: false };
    fetching.set(jid, own);
    const run = async () => {
      const isDone = await limit(() => fetchContact(jid));
      const address = readBareJid(jid);
      if (own.hasChanged && address) changed.add(address);
      fetching.delete(jid);
      // Else the next sync will do: whatever kept it from being fetched may last.
      if (isDone && own.isAskedAgain) line.resync();
    };
    run().catch((err: unknown) => {
      fetching.delete(jid);
      line.log.debug({ err, peer: jid }, 'profile not fetched');
    });
  };

  const syncContacts = async (): Promise<void> => {
    const rows = await selectContacts(db, accountId);
    const wanted = new Set<string>();
    const due: { jid: string; hasChanged: boolean }[] = [];
    for (const { jid, isPending, avatarHash } of rows) {
      const address = readBareJid(jid) ?? jid;
      wanted.add(address);
      const known = contacts.get(address);
      const hash = avatarHash ?? '';
      if (known) known.hash = hash;
      else contacts.set(address, { jid, hash, presence: undefined, event: undefined });
      const hasChanged = changed.has(address);
      if (isPending || hasChanged) due.push({ jid, hasChanged });
    }
    for (const address of contacts.keys()) if (!wanted.has(address)) contacts.delete(address);
    changed.clear();
    // Not awaited: some take long, and the account's own profile is not to wait for them.
    for (const { jid, hasChanged } of due) beginFetch(jid, hasChanged);
  };

  /** A contact tells of its picture, by presence or event. */
  const notice = (from: string | undefined, by: 'presence' | 'event', hash: string): void => {
    const address = readBareJid(from);
    const known = address === null ? undefined : contacts.get(address);
    if (!address || !known || known[by] === hash) return;
    known[by] = hash;
    // The picture of the vCard may always be another than the published one: each is news once.
    if (known.hash === hash) return;
    changed.add(address);
    line.resync();
  };

  const noticePresence = (presence: Element): void => {
    // Of an occupant of a room it is nobody's whom we could tell (XEP-0045 §7.2.2).
    if (presence.attrs.type !== undefined || presence.getChild('x', mucUserNs)) return;
    const hash = readPhotoHash(presence);
    if (hash !== null) notice(presence.attrs.from, 'presence', hash);
  };

  const noticeEvent = (message: Element): void => {
    const event = readPubsubEvent(message);
    if (event?.kind !== 'items' || event.node !== avatarMetadataNs) return;
    const metadata = chooseAvatar(event.items.at(-1)?.payload);
    if (metadata) notice(message.attrs.from, 'event', metadata.info?.hash ?? '');
  };

  return {
    async begin() {
      const profile = await selectOwnProfile(db, accountId);
      hasProfile = profile !== null;
      // While it has yet to be published, nobody can say what the picture will be.
      ownHash = profile?.state === 'pending' ? null : (profile?.avatarHash ?? '');
    },
    presence: () => (hasProfile ? formatPhotoHash(ownHash) : ''),
    get features() {
      return contacts.size > 0 ? [`${avatarMetadataNs}+notify`] : [];
    },
    watch(stanza) {
      if (contacts.size === 0) return;
      if (stanza.name === 'presence') noticePresence(stanza);
      if (stanza.name === 'message') noticeEvent(stanza);
    },
    async sync() {
      const hadContacts = contacts.size > 0;
      const results = await Promise.allSettled([syncOwn(), syncContacts()]);
      if (hadContacts !== contacts.size > 0) line.refreshPresence();
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    },
  };
};

export const createProfilesKind = (_parts: KindParts): PartKind => ({
  tables: ['xmpp_profiles', 'xmpp_contact_profiles'],
  selectBehind,
  create: createPart,
});
