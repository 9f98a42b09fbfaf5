/** The SQL of profiles: the account's own, and those of its contacts. */
import { type DatabasePool, sql } from 'slonik';
import { z } from 'zod';

const fields = {
  fullName: z.string().nullable(),
  nickname: z.string().nullable(),
  email: z.string().nullable(),
  url: z.string().nullable(),
  description: z.string().nullable(),
};
export type ProfileFields = z.infer<z.ZodObject<typeof fields>>;

const ownProfile = z.object({
  ...fields,
  /** Which version of the row this is. */
  version: z.string(),
  state: z.enum(['pending', 'published', 'failed']),
  avatarHash: z.string().nullable(),
  avatarBytes: z.number().nullable(),
});
export type OwnProfile = z.infer<typeof ownProfile>;

export const selectOwnProfile = (db: DatabasePool, accountId: number): Promise<OwnProfile | null> =>
  db.maybeOne(sql.type(ownProfile)`
    select xmin::text as version, state, full_name as "fullName", nickname, email, url, description,
      avatar_hash as "avatarHash", octet_length(avatar) as "avatarBytes"
    from xmpp_profiles
    where account_id = ${accountId}`);

const base64 = z.object({ bytes: z.string().nullable() });

export const selectOwnAvatar = async (
  db: DatabasePool,
  accountId: number,
): Promise<Buffer | null> => {
  const text = await db.maybeOneFirst(sql.type(base64)`
    select encode(avatar, 'base64') as bytes from xmpp_profiles where account_id = ${accountId}`);
  return text === null ? null : Buffer.from(text, 'base64');
};

type OwnState = {
  state: 'pending' | 'published' | 'failed';
  info: string | null;
  avatarHash: string | null;
};

/** @returns false when the row has changed since that version: then it is still to be published */
export const updateOwnProfile = async (
  db: DatabasePool,
  accountId: number,
  version: string,
  { state, info, avatarHash }: OwnState,
): Promise<boolean> => {
  const { rowCount } = await db.query(sql.unsafe`
    update xmpp_profiles set
      state_changed_at = case when state = ${state} then state_changed_at else now() end,
      state = ${state}, state_info = ${info}, avatar_hash = ${avatarHash}
    where account_id = ${accountId} and xmin::text = ${version}`);
  return rowCount === 1;
};

const contact = z.object({
  jid: z.string(),
  isPending: z.boolean(),
  avatarHash: z.string().nullable(),
});
export type Contact = z.infer<typeof contact>;

export const selectContacts = (db: DatabasePool, accountId: number): Promise<readonly Contact[]> =>
  db.any(sql.type(contact)`
    select jid, state = 'pending' as "isPending", avatar_hash as "avatarHash"
    from xmpp_contact_profiles
    where account_id = ${accountId}`);

/** @returns null when the row is gone */
export const selectContactVersion = (
  db: DatabasePool,
  accountId: number,
  jid: string,
): Promise<string | null> =>
  db.maybeOneFirst(sql.type(z.object({ version: z.string() }))`
    select xmin::text as version from xmpp_contact_profiles
    where account_id = ${accountId} and jid = ${jid}`);

export type Fetched = {
  fields: ProfileFields;
  avatar: { bytes: Buffer; type: string; hash: string } | null;
  info: string | null;
};

/** Under that version of the row: one that was set to pending meanwhile stays so. */
export const updateFetched = async (
  db: DatabasePool,
  accountId: number,
  jid: string,
  version: string,
  { fields: { fullName, nickname, email, url, description }, avatar, info }: Fetched,
): Promise<void> => {
  await db.query(sql.unsafe`
    update xmpp_contact_profiles set
      state_changed_at = now(), state = 'fetched', state_info = ${info}, full_name = ${fullName},
      nickname = ${nickname}, email = ${email}, url = ${url}, description = ${description},
      avatar = decode(${avatar?.bytes.toString('base64') ?? null}, 'base64'),
      avatar_type = ${avatar?.type ?? null}, avatar_hash = ${avatar?.hash ?? null}
    where account_id = ${accountId} and jid = ${jid} and xmin::text = ${version}`);
};

/** What was fetched before stays. */
export const updateFailed = async (
  db: DatabasePool,
  accountId: number,
  jid: string,
  version: string,
  info: string,
): Promise<void> => {
  await db.query(sql.unsafe`
    update xmpp_contact_profiles set state_changed_at = now(), state = 'failed', state_info = ${info}
    where account_id = ${accountId} and jid = ${jid} and xmin::text = ${version}`);
};

export const selectBehind = (db: DatabasePool): Promise<readonly number[]> =>
  db.anyFirst(sql.type(z.object({ id: z.number() }))`
    select account_id as id from xmpp_profiles where state = 'pending'
    union
    select account_id from xmpp_contact_profiles where state = 'pending'`);
