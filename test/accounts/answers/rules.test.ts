/** Who answers what, what an answer is, and what a command keeps between its steps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type CommandField,
  createSessions,
  readFields,
} from '../../../src/accounts/answers/commands.ts';
import {
  findCommand,
  findHandler,
  isAllowed,
  listCommands,
} from '../../../src/accounts/answers/directory.ts';
import { answerInfo, buildCaps, describeAccount } from '../../../src/accounts/answers/discovery.ts';
import { buildReply, readReply } from '../../../src/accounts/answers/reply.ts';
import { decideOutcome, readResponse } from '../../../src/accounts/answers/response.ts';
import { findSqlError, judgeSqlError } from '../../../src/accounts/answers/sqlErrors.ts';
import { RejectError } from '../../../src/errors.ts';
import { errorConditions } from '../../../src/xmpp/wire/error.ts';
import type { Form } from '../../../src/xmpp/wire/form.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';
import { testDatabase } from '../../support/database.ts';

const handler = (accountId: number | null, namespace: string) => ({
  accountId,
  namespace,
  functionName: `f${accountId}`,
  timeoutS: 1,
});
const command = (accountId: number | null, node: string, allowed: string[] | null) => ({
  accountId,
  node,
  name: `${node} of ${accountId}`,
  functionName: 'f',
  allowed,
});

test("an account's own row comes before one for all, and no other account's is meant", () => {
  const directory = {
    handlers: [handler(null, 'a'), handler(1, 'a'), handler(2, 'b')],
    commands: [command(null, 'n', ['*']), command(1, 'n', null), command(2, 'o', ['*'])],
  };
  assert.equal(findHandler(directory, 1, 'a')?.functionName, 'f1');
  assert.equal(findHandler(directory, 2, 'a')?.functionName, 'fnull');
  assert.equal(findHandler(directory, 1, 'b'), null);
  assert.equal(findCommand(directory, 1, 'n')?.name, 'n of 1');
  assert.equal(findCommand(directory, 1, 'o'), null);
  const namesFor = (accountId: number, from: string) =>
    listCommands(directory, accountId, from, 'me@here').map(({ name }) => name);
  assert.deepEqual(namesFor(1, 'bob@there/x'), []);
  assert.deepEqual(namesFor(1, 'me@here/x'), ['n of 1']);
  assert.deepEqual(namesFor(2, 'bob@there/x'), ['n of null', 'o of 2']);
});

test('allowed are bare JIDs, domains, all, or the account alone', () => {
  const cases: [allowed: string[] | null, from: string, isRight: boolean][] = [
    [null, 'me@here/x', true],
    [null, 'eve@here/x', false],
    [[], 'me@here/x', false],
    [['*'], 'eve@there', true],
    [['BOB@there'], 'bob@There/x', true],
    [['bob@there'], 'bobby@there/x', false],
    [['there'], 'bob@there/x', true],
    [['there'], 'bob@sub.there/x', false],
    [['bob@there/x'], 'bob@there/x', false],
    [['@', '', 'a b'], 'bob@there/x', false],
  ];
  for (const [allowed, from, isRight] of cases) {
    assert.equal(isAllowed(allowed, from, 'me@here'), isRight, `${allowed} ${from}`);
  }
});

test('only what is raised on purpose leaves the database', () => {
  const said = (code: string) => judgeSqlError({ state: code, message: 'm' });
  assert.deepEqual(said('P0001'), { condition: 'bad-request', text: 'm' });
  assert.deepEqual(said('42501'), { condition: 'forbidden' });
  assert.deepEqual(said('P0002'), { condition: 'item-not-found' });
  for (const code of ['22012', '57014', '42883', 'P0003']) {
    assert.deepEqual(said(code), { condition: 'internal-server-error' });
  }
  assert.equal(judgeSqlError(null).condition, 'internal-server-error');
  const inner = Object.assign(new Error('inner'), { code: 'P0001' });
  const outer = Object.assign(new Error('outer', { cause: inner }), { code: 'ECONNRESET_' });
  assert.deepEqual(findSqlError(outer), { state: 'P0001', message: 'inner' });
  assert.equal(findSqlError(new Error('none')), null);
  assert.equal(findSqlError('none'), null);
});

test('the table takes the conditions that there are', async () => {
  await using db = await testDatabase();
  const [row] = await db.rows<{ text: string }>(
    `select pg_get_constraintdef(oid) as text from pg_constraint
    where conname = 'xmpp_iq_requests_error_condition_check'`,
  );
  const taken = [...(row?.text ?? '').matchAll(/'([a-z-]+)'/g)].map(([, name]) => name);
  assert.deepEqual(taken.sort(), errorConditions.toSorted());
});

test('a row has its outcome by what it says, and by its time', () => {
  const row = {
    id: 1,
    iqFrom: 'a@b/c',
    iqId: '<1',
    response: null,
    errorCondition: null,
    errorText: null,
    answerInMs: 5,
  };
  const decide = (change: Partial<typeof row> | object) => {
    const outcome = decideOutcome({ ...row, ...change }, 1_000);
    const iq = outcome && parseFragment(outcome.stanza);
    if (iq) assert.deepEqual([iq.attrs.to, iq.attrs.id], ['a@b/c', '<1']);
    return outcome && iq && { state: outcome.state, type: iq.attrs.type, info: outcome.info, iq };
  };
  assert.equal(decide({}), null);
  assert.equal(decide({ answerInMs: 0 })?.state, 'expired');
  assert.ok(decide({ answerInMs: 0 })?.iq.getChild('error')?.getChild('service-unavailable'));
  // It came in time, though we are late.
  assert.equal(decide({ answerInMs: -1, response: '' })?.type, 'result');
  assert.equal(decide({ response: "<a xmlns='b'/>" })?.state, 'answered');
  assert.equal(decide({ response: '', errorCondition: 'gone' })?.type, 'error');
  const failed = decide({ response: '<a/>' });
  assert.equal(failed?.state, 'failed');
  assert.ok(failed?.iq.getChild('error')?.getChild('internal-server-error'));
  const unwritable = decide({ errorCondition: 'gone', errorText: 'a\u0001' });
  assert.equal(unwritable?.state, 'failed');
  assert.match(unwritable?.info ?? '', /U\+0001/);
  assert.throws(() => readResponse(`<a xmlns='b'>${'x'.repeat(2_000)}</a>`, 1_000), RejectError);
});

test('the hash is that of the answer, whatever notify_nodes has', () => {
  const info = describeAccount(['b', 'a', 'b'], ['n', '', 'n', 'bad\u0001', 'b']);
  assert.deepEqual(info.features, ['a', 'b', 'b+notify', 'n+notify']);
  const { node, ver } = parseFragment(buildCaps(info)).attrs;
  const query = (name: string) =>
    parseFragment(`<query xmlns='http://jabber.org/protocol/disco#info' node='${name}'/>`);
  const answer = parseFragment(answerInfo(query(`${node}#${ver}`), { info, commands: [] }));
  assert.equal(answer.getChildren('feature').length, 4);
  assert.throws(() => answerInfo(query('other'), { info, commands: [] }), /no such node/);
});

const field = (change: Partial<CommandField>): CommandField => ({
  var: 'a',
  type: 'text-single',
  label: null,
  desc: null,
  isRequired: false,
  options: [],
  values: [],
  ...change,
});

const submit = (values: Record<string, string[]>): Form => ({
  type: 'submit',
  title: null,
  instructions: [],
  reported: [],
  items: [],
  fields: Object.entries(values).map(([name, given]) => ({
    ...field({ var: name, values: given }),
    type: null,
  })),
});

test('what was filled in are the fields that were asked for, by their types', () => {
  const asked = [
    field({ var: 'text' }),
    field({ var: 'list', type: 'list-multi' }),
    field({ var: 'lines', type: 'text-multi' }),
    field({ var: 'yes', type: 'boolean' }),
    field({ var: 'note', type: 'fixed' }),
    field({ var: null, type: 'fixed' }),
    field({ var: 'left' }),
  ];
  const given = { text: ['x', 'y'], lines: ['1', '2'], yes: ['1'], note: ['z'], more: ['w'] };
  assert.deepEqual(readFields(asked, submit(given)), {
    text: 'x',
    list: [],
    lines: ['1', '2'],
    yes: true,
  });
  assert.deepEqual(readFields([field({})], null), {});
  for (const form of [null, submit({}), submit({ a: [''] })]) {
    assert.throws(() => readFields([field({ isRequired: true })], form), /a is required/);
  }
});

test('a session goes on once, by whom it was begun, within ten minutes; there are a hundred', () => {
  const sessions = createSessions();
  const session = { id: 's', node: 'n', jid: 'a@b/c', form: [] };
  sessions.keep(session, 0);
  assert.equal(sessions.take('s', 'n', 'a@b/d', 1), null);
  assert.equal(sessions.take('s', 'm', 'a@b/c', 1), null);
  assert.equal(sessions.take('s', 'n', 'a@b/c', 1)?.id, 's');
  assert.equal(sessions.take('s', 'n', 'a@b/c', 1), null);
  for (let id = 0; id < 100; id += 1) sessions.keep({ ...session, id: `${id}` }, id);
  assert.equal(sessions.isFull(100), true);
  assert.equal(sessions.isFull(600_000), false);
  assert.equal(sessions.take('0', 'n', 'a@b/c', 600_000), null);
  assert.equal(sessions.take('1', 'n', 'a@b/c', 600_000)?.id, '1');
});

test('a field that states no type is of the one that fits its value (XEP-0004 §3.3)', () => {
  const options = [{ label: null, value: 'a' }];
  const fields = [
    {},
    { value: 7 },
    { value: true },
    { value: ['a', 'b'] },
    { value: 'a', options },
    { value: ['a'], options },
    { value: ['x@y'], type: 'jid-multi' },
  ];
  assert.deepEqual(
    readReply({ form: fields }).form?.map(({ type, values }) => [type, values]),
    [
      ['text-single', []],
      ['text-single', ['7']],
      ['boolean', ['true']],
      ['text-multi', ['a', 'b']],
      ['list-single', ['a']],
      ['list-multi', ['a']],
      ['jid-multi', ['x@y']],
    ],
  );
  assert.throws(() => readReply({ form: [{ type: 'colour' }] }), /the type 'colour'/);
});

test('a reply that says nothing ends the command', () => {
  const { attrs, children } = parseFragment(buildReply('n', 's', readReply(null)));
  assert.deepEqual([attrs.status, children], ['completed', []]);
});
