/** Entity capabilities: what a presence says of its sender, as a hash of the disco answer (XEP-0115). */
import { hash } from 'node:crypto';
import type { DiscoInfo, Identity } from './disco.ts';
import { type Form, formTypeOf, readValues } from './form.ts';
import { formatTag } from './tag.ts';

const capsNs = 'http://jabber.org/protocol/caps';

/** The i;octet collation (RFC 4790 §9.3), which is not that of JavaScript's UTF-16 strings. */
const compareOctets = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b));

const partsOf = ({ category, type, lang, name }: Identity): string[] => [
  category,
  type,
  lang ?? '',
  name ?? '',
];

const compareIdentities = (a: Identity, b: Identity): number => {
  const theirs = partsOf(b);
  for (const [index, part] of partsOf(a).entries()) {
    const order = compareOctets(part, theirs[index] ?? '');
    if (order !== 0) return order;
  }
  return 0;
};

const isUnique = (texts: string[]): boolean => new Set(texts).size === texts.length;

const textOfForm = (formType: string, form: Form): string =>
  form.fields
    .filter((field) => field.var !== 'FORM_TYPE')
    .map((field) => ({ name: field.var ?? '', values: field.values.toSorted(compareOctets) }))
    .sort((a, b) => compareOctets(a.name, b.name))
    .reduce((text, { name, values }) => `${text}${[name, ...values].join('<')}<`, `${formType}<`);

/**
 * The verification string of XEP-0115 §5.1, by SHA-1. Forms without a hidden FORM_TYPE do not count.
 *
 * @returns null for an answer that is ill-formed by §5.4, item 3, and proves nothing
 */
export const hashCaps = (info: Omit<DiscoInfo, 'node'>): string | null => {
  const forms = info.forms
    .map((form) => ({ formType: formTypeOf(form), form }))
    .flatMap(({ formType, form }) => (formType === null ? [] : [{ formType, form }]))
    .sort((a, b) => compareOctets(a.formType, b.formType));
  const isWellFormed =
    isUnique(info.identities.map((identity) => JSON.stringify(partsOf(identity)))) &&
    isUnique(info.features) &&
    isUnique(forms.map(({ formType }) => formType)) &&
    forms.every(({ form }) => new Set(readValues(form, 'FORM_TYPE')).size === 1);
  if (!isWellFormed) return null;
  const text =
    info.identities
      .toSorted(compareIdentities)
      .map((identity) => `${partsOf(identity).join('/')}<`)
      .join('') +
    info.features
      .toSorted(compareOctets)
      .map((feature) => `${feature}<`)
      .join('') +
    forms.map(({ formType, form }) => textOfForm(formType, form)).join('');
  return hash('sha1', text, 'base64');
};

/** @param ver from `hashCaps` @param node a URL that names the software */
export const formatCaps = (node: string, ver: string): string =>
  formatTag('c', { xmlns: capsNs, hash: 'sha-1', node, ver });
