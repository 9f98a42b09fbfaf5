/** What people tell of themselves (XEP-0054, vcard-temp), as far as it is understood here. */
import { type Element, xml } from '@xmpp/client';
import { detachElement } from './detach.ts';
import { parseBase64 } from './scalar.ts';
import { formatTag } from './tag.ts';
import { formatElement } from './xml.ts';

const vcardNs = 'vcard-temp';

/** Null is what is not told, or is empty; of what stands there more than once the first counts. */
export type VcardFields = {
  fullName: string | null;
  nickname: string | null;
  email: string | null;
  url: string | null;
  description: string | null;
};

export type VcardPhoto = { mediaType: string | null; data: Buffer };

/** The picture is null also where the vCard but refers to one. */
export type Vcard = { fields: VcardFields; photo: VcardPhoto | null };

const textOf = (parent: Element | undefined, name: string): string | null =>
  parent?.getChildText(name, vcardNs)?.trim() || null;

const readPhoto = (photo: Element | undefined): VcardPhoto | null => {
  const data = parseBase64(textOf(photo, 'BINVAL'));
  return data?.length ? { mediaType: textOf(photo, 'TYPE'), data } : null;
};

/** @returns null for what is no vCard; a picture that is not base64 counts for none */
export const readVcard = (vcard: Element | null | undefined): Vcard | null => {
  if (!vcard?.is('vCard', vcardNs)) return null;
  const email = vcard.getChild('EMAIL', vcardNs);
  return {
    fields: {
      fullName: textOf(vcard, 'FN'),
      nickname: textOf(vcard, 'NICKNAME'),
      // Old clients have the address where its parts should be.
      email: textOf(email, 'USERID') ?? (email?.text().trim() || null),
      url: textOf(vcard, 'URL'),
      description: textOf(vcard, 'DESC'),
    },
    photo: readPhoto(vcard.getChild('PHOTO', vcardNs)),
  };
};

export const formatVcardQuery = (): string => formatTag('vCard', { xmlns: vcardNs });

/** An element under the vCard's own prefix, if it has one. */
const create = (vcard: Element, name: string, ...children: (Element | string)[]): Element =>
  xml(vcard.name.slice(0, -'vCard'.length) + name, {}, ...children);

/** Puts an element where the first of its name stands; null takes away all of that name. */
const put = (vcard: Element, name: string, element: Element | null): void => {
  const isNamed = (child: Element | string) => typeof child !== 'string' && child.is(name, vcardNs);
  const at = vcard.children.findIndex(isNamed);
  if (element === null) vcard.children = vcard.children.filter((child) => !isNamed(child));
  else vcard.children.splice(at === -1 ? vcard.children.length : at, at === -1 ? 0 : 1, element);
};

const putText = (vcard: Element, name: string, text: string | null): void =>
  put(vcard, name, text === null ? null : create(vcard, name, text));

/** What is said of the address stays, such as that it is the one at home. */
const createEmail = (vcard: Element, address: string): Element => {
  const email = create(vcard, 'EMAIL');
  const kept = vcard
    .getChild('EMAIL', vcardNs)
    ?.getChildElements()
    .filter((child) => child.getName() !== 'USERID');
  // Not appended, which would take them out of the original.
  email.children = [...(kept ?? [create(vcard, 'INTERNET')]), create(vcard, 'USERID', address)];
  return email;
};

const createPhoto = (vcard: Element, { mediaType, data }: VcardPhoto): Element => {
  const type = mediaType === null ? [] : [create(vcard, 'TYPE', mediaType)];
  return create(vcard, 'PHOTO', ...type, create(vcard, 'BINVAL', data.toString('base64')));
};

/**
 * Changes what is understood here and keeps all else, which other clients may have put there: also further
 * addresses, as long as there is to be one at all.
 *
 * @param existing is left as it is; null when there is none
 * @throws RejectError when a text has a character that XML does not allow
 */
export const rewriteVcard = (
  existing: Element | null | undefined,
  { fields, photo }: Vcard,
): string => {
  const isVcard = existing?.is('vCard', vcardNs) === true;
  const vcard = isVcard ? detachElement(existing) : xml('vCard', { xmlns: vcardNs });
  putText(vcard, 'FN', fields.fullName);
  putText(vcard, 'NICKNAME', fields.nickname);
  put(vcard, 'EMAIL', fields.email === null ? null : createEmail(vcard, fields.email));
  putText(vcard, 'URL', fields.url);
  putText(vcard, 'DESC', fields.description);
  // No second picture may be left for others to choose.
  put(vcard, 'PHOTO', null);
  if (photo) put(vcard, 'PHOTO', createPhoto(vcard, photo));
  return formatElement(vcard);
};
