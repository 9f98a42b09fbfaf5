/** Data forms (XEP-0004), and what they are for by their FORM_TYPE (XEP-0068). */
import type { Element } from '@xmpp/client';
import { formatTag, formatTextTag } from './tag.ts';

export const dataNs = 'jabber:x:data';

export const fieldTypes = [
  'boolean',
  'fixed',
  'hidden',
  'jid-multi',
  'jid-single',
  'list-multi',
  'list-single',
  'text-multi',
  'text-private',
  'text-single',
] as const;
const formTypes = ['form', 'submit', 'cancel', 'result'] as const;

export type FieldType = (typeof fieldTypes)[number];
export type FormType = (typeof formTypes)[number];
export type FormOption = { label: string | null; value: string };

export type FormField = {
  /** Null only for fixed text. */
  var: string | null;
  /** Null where none is stated, as in what is submitted. */
  type: FieldType | null;
  label: string | null;
  desc: string | null;
  isRequired: boolean;
  options: FormOption[];
  /** Of a text-multi one a line. */
  values: string[];
};

export type Form = {
  type: FormType;
  title: string | null;
  instructions: string[];
  fields: FormField[];
  /** Of a table of results: its columns, and its rows. */
  reported: FormField[];
  items: FormField[][];
};

/** What is not stated is empty. */
export type FormDraft = Pick<Form, 'type'> & {
  title?: string | null;
  instructions?: string[];
  fields?: Partial<FormField>[];
  reported?: Partial<FormField>[];
  items?: Partial<FormField>[][];
};

const textsOf = (element: Element, name: string): string[] =>
  element.getChildren(name, dataNs).map((child) => child.text());

/** A type that is not known is to be taken for text-single (XEP-0004 §3.3). */
const readType = (text: string | undefined): FieldType | null =>
  text === undefined ? null : (fieldTypes.find((type) => type === text) ?? 'text-single');

const readField = (field: Element): FormField => ({
  var: field.attrs.var ?? null,
  type: readType(field.attrs.type),
  label: field.attrs.label ?? null,
  desc: field.getChildText('desc', dataNs),
  isRequired: field.getChild('required', dataNs) !== undefined,
  options: field.getChildren('option', dataNs).map((option) => ({
    label: option.attrs.label ?? null,
    value: option.getChildText('value', dataNs) ?? '',
  })),
  values: textsOf(field, 'value'),
});

const readFields = (parent: Element | undefined): FormField[] =>
  parent?.getChildren('field', dataNs).map(readField) ?? [];

/** @returns null for what is no form, or is of no known type */
export const readForm = (x: Element | undefined): Form | null => {
  const type = formTypes.find((known) => known === x?.attrs.type);
  if (!x?.is('x', dataNs) || type === undefined) return null;
  return {
    type,
    title: x.getChildText('title', dataNs),
    instructions: textsOf(x, 'instructions'),
    fields: readFields(x),
    reported: readFields(x.getChild('reported', dataNs)),
    items: x.getChildren('item', dataNs).map(readFields),
  };
};

/** One line a value (XEP-0004 §3.3, text-multi). */
const linesOf = ({ type, values = [] }: Partial<FormField>): string[] =>
  type === 'text-multi' ? values.flatMap((value) => value.split(/\r\n|\r|\n/)) : values;

const formatOption = ({ label, value }: FormOption): string =>
  formatTag('option', { label }, formatTextTag('value', value));

const formatField = (field: Partial<FormField>): string =>
  formatTag(
    'field',
    { var: field.var, type: field.type, label: field.label },
    formatTextTag('desc', field.desc) +
      (field.isRequired === true ? '<required/>' : '') +
      linesOf(field)
        .map((value) => formatTextTag('value', value))
        .join('') +
      (field.options ?? []).map(formatOption).join(''),
  );

const formatFields = (name: string, fields: Partial<FormField>[]): string =>
  formatTag(name, {}, fields.map(formatField).join(''));

/** @throws RejectError when a text has a character that XML does not allow */
export const formatForm = (form: FormDraft): string =>
  formatTag(
    'x',
    { xmlns: dataNs, type: form.type },
    formatTextTag('title', form.title) +
      (form.instructions ?? []).map((line) => formatTextTag('instructions', line)).join('') +
      (form.fields ?? []).map(formatField).join('') +
      (form.reported?.length ? formatFields('reported', form.reported) : '') +
      (form.items ?? []).map((item) => formatFields('item', item)).join(''),
  );

/** The field that says what the others mean. */
const formTypeField = (formType: string): Partial<FormField> => ({
  var: 'FORM_TYPE',
  type: 'hidden',
  values: [formType],
});

/** Values by the name of their field; a field without a value, which is null, is left out. */
export type FormValues = Record<string, string | string[] | number | boolean | null>;

/** Fills in a form: a boolean becomes 1 or 0, which every service understands. */
export const formatSubmit = (formType: string, values: FormValues): string => {
  const fields = Object.entries(values).flatMap(([name, value]): Partial<FormField>[] => {
    if (value === null) return [];
    if (typeof value === 'boolean') return [{ var: name, values: [value ? '1' : '0'] }];
    return [{ var: name, values: Array.isArray(value) ? value : [String(value)] }];
  });
  return formatForm({ type: 'submit', fields: [formTypeField(formType), ...fields] });
};

export const readValues = ({ fields }: Form, name: string): string[] =>
  fields.find((field) => field.var === name)?.values ?? [];

export const readValue = (form: Form, name: string): string | null =>
  readValues(form, name)[0] ?? null;

/**
 * What the form is for. Only what is submitted may leave out that the field is hidden (XEP-0068 §5).
 *
 * @returns null for a form that does not say so
 */
export const formTypeOf = (form: Form): string | null => {
  const field = form.fields.find((candidate) => candidate.var === 'FORM_TYPE');
  const isHidden = field?.type === 'hidden' || (field?.type === null && form.type === 'submit');
  return isHidden ? (field?.values[0] ?? null) : null;
};
