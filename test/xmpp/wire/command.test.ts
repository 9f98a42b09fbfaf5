import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCommand, readCommand } from '../../../src/xmpp/wire/command.ts';
import { readForm, readValue } from '../../../src/xmpp/wire/form.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { xepExamples } from '../../fixtures/xeps.ts';
import { assertSameXml, payloadOf } from '../../support/xmlTree.ts';

const SESSION = 'config:20020923T213616Z-700';
const read = (attributes: string, content = '') =>
  readCommand(
    parseFragment(
      `<command xmlns='http://jabber.org/protocol/commands'${attributes}>${content}</command>`,
    ),
  );

test('requests are read from the first to the last (XEP-0050, examples 8, 12 and 18)', () => {
  assert.deepEqual(readCommand(payloadOf(xepExamples['0050-8'])), {
    node: 'list',
    sessionId: null,
    action: 'execute',
    form: null,
  });
  const next = readCommand(payloadOf(xepExamples['0050-12']));
  assert.deepEqual(
    { ...next, form: null },
    {
      node: 'config',
      sessionId: SESSION,
      action: 'execute',
      form: null,
    },
  );
  assert.equal(next?.form && readValue(next.form, 'service'), 'httpd');
  assert.equal(readCommand(payloadOf(xepExamples['0050-18']))?.action, 'cancel');
});

test('answers are written (XEP-0050, examples 11, 13 and 19)', () => {
  const stage = (example: '0050-11' | '0050-13') => {
    const command = payloadOf(xepExamples[example]);
    return { command, form: readForm(command.getChild('x')) };
  };
  const answer = { node: 'config', sessionId: SESSION };
  const first = stage('0050-11');
  assertSameXml(
    formatCommand({
      ...answer,
      status: 'executing',
      actions: { execute: 'next', offered: ['next'] },
      form: first.form,
    }),
    first.command,
  );
  const second = stage('0050-13');
  const written = formatCommand({
    ...answer,
    status: 'executing',
    actions: { execute: 'complete', offered: ['prev', 'complete'] },
    form: second.form,
  });
  const actions = parseFragment(written).getChild('actions');
  assert.equal(actions?.attrs.execute, 'complete');
  assert.deepEqual(
    actions?.getChildElements().map((action) => action.getName()),
    ['prev', 'complete'],
  );
  assert.deepEqual(readForm(parseFragment(written).getChild('x')), second.form);
  assertSameXml(
    formatCommand({ ...answer, status: 'canceled' }),
    payloadOf(xepExamples['0050-19']),
  );
});

test('notes say how it went (XEP-0050 §4.3)', () => {
  const written = formatCommand({
    node: 'a',
    sessionId: 'b',
    status: 'completed',
    notes: [{ type: 'warn', text: '<c> & d' }],
  });
  assertSameXml(
    written,
    `<command xmlns='http://jabber.org/protocol/commands' node='a' sessionid='b' status='completed'>
      <note type='warn'>&lt;c> &amp; d</note></command>`,
  );
});

test('a request that cannot be understood is refused, and what is no command is null', () => {
  const refused = { name: 'RejectError', condition: 'bad-request' };
  assert.throws(() => read(''), refused);
  assert.throws(() => read(" node=''"), refused);
  assert.throws(() => read(" node='a' action='toString'"), refused);
  assert.throws(() => read(" node='a' action=''"), refused);
  assert.throws(() => read(" node='a'", "<x xmlns='jabber:x:data'/>"), refused);
  assert.equal(readCommand(parseFragment("<command node='a'/>")), null);
  assert.equal(readCommand(null), null);
});
