/** The simple types of XML Schema that stanzas are full of, and the date-times of XEP-0082. */

type Text = string | null | undefined;

/** A whole number that is not negative and that a number can hold. @returns null for anything else */
export const parseCount = (text: Text): number | null => {
  const digits = text?.trim() ?? '';
  const count = /^\d{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
  return Number.isSafeInteger(count) ? count : null;
};

/** @returns null for what is no boolean (XML Schema Part 2 §3.2.2) */
export const parseBoolean = (text: Text): boolean | null => {
  const word = text?.trim();
  if (word === 'true' || word === '1') return true;
  return word === 'false' || word === '0' ? false : null;
};

/** Base64 that may be broken into lines. @returns null for anything else; the empty text is no bytes */
export const parseBase64 = (text: Text): Buffer | null => {
  const digits = text?.replace(/[ \t\r\n]+/g, '') ?? '=';
  const isBase64 = digits.length % 4 === 0 && !/[^A-Za-z0-9+/]/.test(digits.replace(/={1,2}$/, ''));
  return isBase64 ? Buffer.from(digits, 'base64') : null;
};

const dateTime = /^\d{4}-\d\d-(\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/**
 * A date and time of XEP-0082 §3.2, to the millisecond: Date has no finer time.
 *
 * @returns null for anything else, also without a zone, and for days that their month does not have
 */
export const parseDateTime = (text: Text): Date | null => {
  const parts = dateTime.exec(text?.trim() ?? '');
  if (parts === null) return null;
  const date = new Date(parts[0]);
  // Date takes 31 February for 3 March: so the day is compared, in the zone that it was stated in.
  const day = new Date(`${parts[0].slice(0, 10)}T00:00:00Z`);
  const isDay = !Number.isNaN(day.getTime()) && day.getUTCDate() === Number(parts[1]);
  return isDay && !Number.isNaN(date.getTime()) ? date : null;
};

/** In UTC; the milliseconds only where there are any, since some readers know of none. */
export const formatDateTime = (date: Date): string => date.toISOString().replace('.000Z', 'Z');
