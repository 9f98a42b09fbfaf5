/** What a function has answered to a command: a note, and a form to be filled in or read (XEP-0004). */
import { type CommandAnswer, formatCommand } from '../../xmpp/wire/command.ts';
import { type FieldType, type FormDraft, fieldTypes } from '../../xmpp/wire/form.ts';
import type { CommandField } from './commands.ts';
import type { StatedField, StatedReply } from './store.ts';

export type CommandReply = {
  note: string | null;
  noteType: 'info' | 'warn' | 'error';
  title: string | null;
  instructions: string[];
  /** To be filled in: the command goes on. */
  form: CommandField[] | null;
  result: CommandField[] | null;
};

/** The type that fits what is given, where none is. */
const guessType = ({ value, options }: StatedField): FieldType => {
  const isMulti = Array.isArray(value);
  if (options?.length) return isMulti ? 'list-multi' : 'list-single';
  if (isMulti) return 'text-multi';
  return typeof value === 'boolean' ? 'boolean' : 'text-single';
};

const readType = (stated: string): FieldType => {
  const type = fieldTypes.find((known) => known === stated);
  if (type) return type;
  throw new Error(`a field has the type '${stated}', which XEP-0004 does not know`);
};

const readValues = (value: StatedField['value']): string[] => {
  if (value === null || value === undefined) return [];
  return Array.isArray(value) ? value : [String(value)];
};

const readField = (stated: StatedField): CommandField => ({
  var: stated.var ?? null,
  type: readType(stated.type ?? guessType(stated)),
  label: stated.label ?? null,
  desc: stated.desc ?? null,
  isRequired: stated.required ?? false,
  options: stated.options ?? [],
  values: readValues(stated.value),
});

/** @throws Error when a field is of no known type */
export const readReply = (stated: StatedReply): CommandReply => ({
  note: stated?.note ?? null,
  noteType: stated?.note_type ?? 'info',
  title: stated?.title ?? null,
  instructions: stated?.instructions ?? [],
  form: stated?.form?.map(readField) ?? null,
  result: stated?.result?.map(readField) ?? null,
});

const draftForm = ({ title, instructions, form, result }: CommandReply): FormDraft | null => {
  const fields = form ?? result;
  if (fields === null) return null;
  return { type: form ? 'form' : 'result', title, instructions, fields };
};

/** @throws RejectError when a text has a character that XML does not allow */
export const buildReply = (node: string, sessionId: string, reply: CommandReply): string => {
  const answer: CommandAnswer = {
    node,
    sessionId,
    status: reply.form ? 'executing' : 'completed',
    actions: reply.form ? { execute: 'complete', offered: ['complete'] } : null,
    notes: reply.note === null ? [] : [{ type: reply.noteType, text: reply.note }],
    form: draftForm(reply),
  };
  return formatCommand(answer);
};
