/** Slots to upload files to by HTTP (XEP-0363). */
import type { Element } from '@xmpp/client';
import type { DiscoInfo } from './disco.ts';
import { formTypeOf, readValue } from './form.ts';
import { parseCount } from './scalar.ts';
import { formatTag } from './tag.ts';

export const uploadNs = 'urn:xmpp:http:upload:0';

/** The only ones that may be sent on, in the order given; one may come twice (§5). */
export type UploadHeader = { name: 'Authorization' | 'Cookie' | 'Expires'; value: string };
export type UploadSlot = { putUrl: string; getUrl: string; headers: UploadHeader[] };

const headerNames = ['Authorization', 'Cookie', 'Expires'] as const;

/** The payload of an iq `get`. */
export const formatSlotRequest = (file: {
  name: string;
  sizeBytes: number;
  mediaType: string | null;
}): string =>
  formatTag('request', {
    xmlns: uploadNs,
    filename: file.name,
    size: file.sizeBytes,
    'content-type': file.mediaType,
  });

/** Node itself would throw at what remains: characters that HTTP headers cannot carry. */
const isSendable = (value: string): boolean => /^[\t\x20-\x7E\x80-\xFF]*$/.test(value);

const readHeader = (header: Element): UploadHeader[] => {
  const stated = header.attrs.name?.replace(/[\r\n]/g, '').toLowerCase();
  const name = headerNames.find((allowed) => allowed.toLowerCase() === stated);
  const value = header.text().replace(/[\r\n]/g, '');
  return name && isSendable(value) ? [{ name, value }] : [];
};

/** Only https (§5): the service may not send us to another protocol. */
const isHttps = ({ protocol }: URL): boolean => protocol === 'https:';

const readUrl = (element: Element | undefined, isAllowed: (url: URL) => boolean): string | null => {
  const text = element?.attrs.url ?? '';
  const url = /^https?:\/\//i.test(text) ? URL.parse(text) : null;
  return url && isAllowed(url) ? text : null;
};

/**
 * @param isAllowed which URLs are taken, of http and https; by default all with https
 * @returns null for what is no slot, or one whose URLs may not be used
 */
export const readSlot = (
  slot: Element | null | undefined,
  isAllowed: (url: URL) => boolean = isHttps,
): UploadSlot | null => {
  if (!slot?.is('slot', uploadNs)) return null;
  const put = slot.getChild('put', uploadNs);
  const putUrl = readUrl(put, isAllowed);
  const getUrl = readUrl(slot.getChild('get', uploadNs), isAllowed);
  if (!put || putUrl === null || getUrl === null) return null;
  return { putUrl, getUrl, headers: put.getChildren('header', uploadNs).flatMap(readHeader) };
};

/** The largest file that the service takes. @returns null when it does not say (§4) */
export const readMaxFileSize = ({ forms }: DiscoInfo): number | null => {
  const form = forms.find((candidate) => formTypeOf(candidate) === uploadNs);
  return form ? parseCount(readValue(form, 'max-file-size')) : null;
};
