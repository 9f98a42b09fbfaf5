/** The style attribute of XHTML-IM: what of it may stand (XEP-0071 §7.6.1). */

const maxValueChars = 200;
const color =
  /^(?:[a-z]{3,30}|#[0-9a-f]{3}|#[0-9a-f]{6}|rgb\( ?\d{1,3}%? ?, ?\d{1,3}%? ?, ?\d{1,3}%? ?\))$/;
const size = '(?:0|\\d{1,3}(?:\\.\\d{1,2})?(?:pt|px|pc|em|ex|rem|in|cm|mm|%))';
const sizeNames = 'xx-small|x-small|small|medium|large|x-large|xx-large|smaller|larger';
// No negative ones, with which a text could be laid over another's.
const margin = new RegExp(`^(?:auto|${size})$`);
const fontName = /^(?:[a-z][a-z0-9 -]*|'[a-z0-9][a-z0-9 .-]*'|"[a-z0-9][a-z0-9 .-]*")$/i;

const fits =
  (pattern: RegExp) =>
  (value: string): boolean =>
    pattern.test(value);

/** Which values a property takes. They are tested with single blanks, and but for fonts in lower case. */
const properties = new Map<string, (value: string) => boolean>([
  ['background-color', fits(color)],
  ['color', fits(color)],
  ['font-family', (value) => value.split(',').every((name) => fontName.test(name.trim()))],
  ['font-size', fits(new RegExp(`^(?:${sizeNames}|${size})$`))],
  ['font-style', fits(/^(?:normal|italic|oblique)$/)],
  ['font-weight', fits(/^(?:normal|bold|bolder|lighter|[1-9]00)$/)],
  ['margin-left', fits(margin)],
  ['margin-right', fits(margin)],
  ['text-align', fits(/^(?:left|right|center|justify)$/)],
  [
    'text-decoration',
    fits(/^(?:none|(?:underline|overline|line-through)(?: (?:underline|overline|line-through))*)$/),
  ],
]);

/** A semicolon within quotes cuts the declaration as well: its halves then fit no pattern. */
const readDeclaration = (text: string): [property: string, value: string] | null => {
  const colon = text.indexOf(':');
  const property = text.slice(0, Math.max(colon, 0)).trim().toLowerCase();
  const written = text.slice(colon + 1);
  if (written.length > maxValueChars) return null;
  const value = written.trim().replace(/\s+/g, ' ');
  const known = property === 'font-family' ? value : value.toLowerCase();
  return properties.get(property)?.(known) ? [property, known] : null;
};

/** @returns the declarations that are allowed, of each property the last; null when none is */
export const cleanStyle = (style: string): string | null => {
  const declarations = style.split(';').map(readDeclaration);
  const values = new Map(declarations.filter((declaration) => declaration !== null));
  if (values.size === 0) return null;
  return [...values].map(([property, value]) => `${property}: ${value}`).join('; ');
};
