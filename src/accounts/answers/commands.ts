/** Commands (XEP-0050): what was filled in as fields, and the sessions between their steps. */
import { RejectError } from '../../errors.ts';
import type { FieldType, Form, FormOption } from '../../xmpp/wire/form.ts';
import { parseBoolean } from '../../xmpp/wire/scalar.ts';

export type CommandField = {
  var: string | null;
  type: FieldType;
  label: string | null;
  desc: string | null;
  isRequired: boolean;
  options: FormOption[];
  values: string[];
};

/** Values by the name of their field. */
export type CommandFields = Record<string, string | string[] | boolean | null>;

const readValue = ({ type }: CommandField, values: string[]): CommandFields[string] => {
  if (type.endsWith('-multi')) return values;
  const [first = null] = values;
  return type === 'boolean' ? (parseBoolean(first) ?? first) : first;
};

/**
 * What was filled in, of the fields that were asked for.
 *
 * @throws RejectError `not-acceptable` when one that is required is missing
 */
export const readFields = (asked: readonly CommandField[], form: Form | null): CommandFields => {
  const fields: CommandFields = {};
  for (const field of asked) {
    if (field.var === null || field.type === 'fixed') continue;
    const values = form?.fields.find((given) => given.var === field.var)?.values ?? [];
    if (field.isRequired && values.join('') === '') {
      throw new RejectError(`${field.var} is required`, 'not-acceptable');
    }
    if (values.length > 0 || field.type.endsWith('-multi')) {
      fields[field.var] = readValue(field, values);
    }
  }
  return fields;
};

export type CommandSession = {
  id: string;
  node: string;
  /** Who runs it: another one cannot go on with it. */
  jid: string;
  form: readonly CommandField[];
};

const SESSION_MS = 600_000;
const SESSIONS = 100;

/** Commands that wait to be gone on with. Times are milliseconds. */
export const createSessions = () => {
  const sessions = new Map<string, CommandSession & { endsAt: number }>();
  const drop = (now: number) => {
    for (const [id, { endsAt }] of sessions) if (endsAt <= now) sessions.delete(id);
  };
  return {
    isFull(now: number): boolean {
      drop(now);
      return sessions.size >= SESSIONS;
    },
    keep(session: CommandSession, now: number): void {
      sessions.set(session.id, { ...session, endsAt: now + SESSION_MS });
    },
    /** Takes it out, so that nobody goes on with it twice at once. @returns null when there is none */
    take(id: string, node: string, jid: string, now: number): CommandSession | null {
      drop(now);
      const session = sessions.get(id);
      if (session?.node !== node || session.jid !== jid) return null;
      sessions.delete(id);
      return session;
    },
    clear: () => sessions.clear(),
  };
};
