/** The two PRECIS profiles that addresses are made of (RFC 8264, RFC 8265), on the Unicode of Node. */
import { domainToASCII } from 'node:url';
import { RejectError } from '../../errors.ts';

// Sources of regular expressions; the letters are those of the categories in RFC 8264 §9.
const letterDigits = String.raw`[\p{L}--\p{Lt}]\p{Nd}\p{Mn}\p{Mc}`; // A
const ascii7 = String.raw`\x21-\x7E`; // K
const allowedExceptions = String.raw`\u06FD\u06FE\u0F0B\u3007`; // F; ß and ς are in A
const disallowedExceptions = String.raw`\u0640\u07FA\u302E\u302F\u3031-\u3035\u303B`; // F
const contextO = String.raw`\xB7\u0375\u05F3\u05F4\u30FB\u0660-\u0669\u06F0-\u06F9`; // F
const joiners = String.raw`\u200C\u200D`; // H
const oldHangulJamo = String.raw`\u1100-\u11FF\uA960-\uA97C\uD7B0-\uD7C6\uD7CB-\uD7FB`; // I
const ignorable = String.raw`[\p{DI}--[${joiners}]]\p{NChar}`; // M

const outside = (allowed: string): RegExp =>
  new RegExp(`[^[${allowed}]--[${disallowedExceptions}${oldHangulJamo}${ignorable}]]`, 'v');

const outsideIdentifier = outside(letterDigits + ascii7 + allowedExceptions + contextO + joiners);
const outsideFreeform = outside(String.raw`\p{L}\p{M}\p{N}\p{S}\p{P}\p{Zs}${joiners}`);

/** What each contextual rule of RFC 5892 Appendix A.3 to A.9 forbids, on the whole text. */
const contextOViolations = [
  /(?<!l)\xB7|\xB7(?!l)/u,
  /\u0375(?!\p{Script=Greek})/u,
  /(?<!\p{Script=Hebrew})[\u05F3\u05F4]/u,
  /^(?!.*[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]).*\u30FB/su,
  /^(?=.*[\u0660-\u0669]).*[\u06F0-\u06F9]/su,
];
const contextual = new RegExp(`[${contextO}${joiners}]`, 'v');
const joinerInPlace = /[\u200C\u200D](?<=([\p{L}\p{N}]\p{M}*)?.)(?=(\p{M}*[\p{L}\p{N}])?)/gu;

/** Blocks that hold or will hold characters of bidirectional class R, AL or AN. */
const rightToLeft =
  /[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFF\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]/u;
const asciiPunctuation = /[!-/:-@[-`{-~]/g;
const wideOrNarrow = /[\u3000\uFF01-\uFFEE]/g;

/**
 * IDNA holds labels to the same rules on joiners and on direction (RFC 5892 A.1 and A.2, RFC 5893),
 * so Node's tables answer for them. They are of Unicode 13: later letters are taken for left to right.
 */
const isLabel = (text: string): boolean => domainToASCII(text) !== '';

// To the bidi rule all ASCII punctuation is alike, and a label may hold an underscore.
const obeysBidiRule = (text: string): boolean =>
  !rightToLeft.test(text) || isLabel(text.replace(asciiPunctuation, '_'));

const obeysJoinerRules = (text: string): boolean =>
  [...text.matchAll(joinerInPlace)].every(([joiner, before = '', after = '']) =>
    isLabel(before + joiner + after),
  );

const codePoint = (char: string): string =>
  `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;

const refuse = (part: string, reason: string): RejectError =>
  new RejectError(`the ${part} ${reason}`, 'jid-malformed');

const requireClass = (text: string, outsiders: RegExp, part: string): void => {
  const outsider = outsiders.exec(text);
  if (outsider !== null) throw refuse(part, `may not contain ${codePoint(outsider[0])}`);
};

const requireNoCompatibles = (text: string, part: string): void => {
  if (text.normalize('NFKC') === text) return;
  const compatible = [...text].find((char) => char.normalize('NFKC') !== char);
  if (compatible === undefined) return;
  throw refuse(part, `may not contain the compatibility character ${codePoint(compatible)}`);
};

const requireContext = (text: string, part: string): void => {
  if (!contextual.test(text)) return;
  const isOutOfPlace = contextOViolations.some((violation) => violation.test(text));
  if (isOutOfPlace || !obeysJoinerRules(text)) {
    throw refuse(part, 'has a character that is only allowed next to certain others (RFC 5892)');
  }
};

/**
 * Enforces UsernameCaseMapped (RFC 8265 §3.3). Classes are checked before the case is mapped, as
 * §3.3.2 has it: the Kelvin sign is refused, not taken for a k. Contexts are checked after it.
 *
 * @param part what to call the text in an error
 * @throws RejectError when the text breaks the profile; the empty text is left to the caller
 */
export const enforceUsername = (text: string, part: string): string => {
  const narrowed = text.replace(wideOrNarrow, (char) => char.normalize('NFKC'));
  requireClass(narrowed, outsideIdentifier, part);
  requireNoCompatibles(narrowed, part);
  const mapped = narrowed.toLowerCase().normalize('NFC');
  requireContext(mapped, part);
  if (!obeysBidiRule(mapped)) throw refuse(part, 'mixes writing directions (RFC 5893)');
  return mapped;
};

/**
 * Enforces OpaqueString (RFC 8265 §4.2): spaces of any kind become U+0020, case is kept.
 *
 * @param part what to call the text in an error
 * @throws RejectError when the text breaks the profile; the empty text is left to the caller
 */
export const enforceOpaque = (text: string, part: string): string => {
  requireClass(text, outsideFreeform, part);
  const mapped = text.replace(/\p{Zs}/gu, ' ').normalize('NFC');
  requireContext(mapped, part);
  return mapped;
};
