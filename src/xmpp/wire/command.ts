/** Ad-hoc commands as the one who offers them sees them (XEP-0050). */
import type { Element } from '@xmpp/client';
import { RejectError } from '../../errors.ts';
import { dataNs, type Form, type FormDraft, formatForm, readForm } from './form.ts';
import { formatTag, formatTextTag } from './tag.ts';

export const commandsNs = 'http://jabber.org/protocol/commands';

const actions = ['execute', 'cancel', 'prev', 'next', 'complete'] as const;

export type CommandAction = (typeof actions)[number];
/** What a requester may be offered; cancel and execute always may be asked for. */
export type OfferedAction = 'prev' | 'next' | 'complete';

export type CommandRequest = {
  node: string;
  /** Null in the first request of a session. */
  sessionId: string | null;
  /** `execute` also where none is stated: do what the last answer named as the default (§3.4). */
  action: CommandAction;
  form: Form | null;
};

export type CommandNote = { type: 'info' | 'warn' | 'error'; text: string };

export type CommandAnswer = {
  node: string;
  sessionId: string;
  status: 'executing' | 'completed' | 'canceled';
  /** Only while executing; `execute` is the default one, and has to be among those offered. */
  actions?: { execute: OfferedAction; offered: OfferedAction[] } | null;
  notes?: CommandNote[];
  form?: FormDraft | null;
};

/**
 * @returns null for what is no command
 * @throws RejectError `bad-request` for one without a node, with an unknown action or a broken form
 */
export const readCommand = (command: Element | null | undefined): CommandRequest | null => {
  if (!command?.is('command', commandsNs)) return null;
  const { node, sessionid: sessionId = null, action: stated = 'execute' } = command.attrs;
  if (!node) throw new RejectError('the command has no node', 'bad-request');
  const action = actions.find((known) => known === stated);
  if (!action) throw new RejectError('the action is none of XEP-0050', 'bad-request');
  const x = command.getChild('x', dataNs);
  const form = readForm(x);
  if (x && !form) throw new RejectError('the form is of no known type', 'bad-request');
  return { node, sessionId, action, form };
};

const formatActions = ({ execute, offered }: NonNullable<CommandAnswer['actions']>): string =>
  formatTag('actions', { execute }, offered.map((action) => formatTag(action, {})).join(''));

/** @throws RejectError when a text has a character that XML does not allow */
export const formatCommand = (answer: CommandAnswer): string =>
  formatTag(
    'command',
    {
      xmlns: commandsNs,
      node: answer.node,
      sessionid: answer.sessionId,
      status: answer.status,
    },
    (answer.actions ? formatActions(answer.actions) : '') +
      (answer.notes ?? []).map(({ type, text }) => formatTextTag('note', text, { type })).join('') +
      (answer.form ? formatForm(answer.form) : ''),
  );
