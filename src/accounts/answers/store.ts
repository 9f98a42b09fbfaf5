/** The SQL of requests of others: who answers them, those that are rows, and calls of functions. */
import type pg from 'pg';
import { type DatabasePool, type SerializableValue, sql } from 'slonik';
import { z } from 'zod';
import type { CommandFields } from './commands.ts';

const handler = z.object({
  accountId: z.number().nullable(),
  namespace: z.string(),
  /** Null where the request becomes a row. */
  functionName: z.string().nullable(),
  timeoutS: z.number(),
});
export type Handler = z.infer<typeof handler>;

export const selectHandlers = (db: DatabasePool): Promise<readonly Handler[]> =>
  db.any(sql.type(handler)`
    select account_id as "accountId", namespace, function as "functionName", timeout_s as "timeoutS"
    from xmpp_iq_handlers`);

const command = z.object({
  accountId: z.number().nullable(),
  node: z.string(),
  name: z.string(),
  functionName: z.string(),
  allowed: z.array(z.string()).nullable(),
});
export type Command = z.infer<typeof command>;

export const selectCommands = (db: DatabasePool): Promise<readonly Command[]> =>
  db.any(sql.type(command)`
    select account_id as "accountId", node, name, function as "functionName", allowed
    from xmpp_commands`);

/** Accounts with requests that have an answer, or will get none in time. */
export const selectAnswerable = (db: DatabasePool): Promise<readonly number[]> =>
  db.anyFirst(sql.type(z.object({ accountId: z.number() }))`
    select distinct account_id as "accountId" from xmpp_iq_requests
    where state = 'pending'
      and (response is not null or error_condition is not null or answer_by <= now())`);

const pending = z.object({
  id: z.number(),
  iqFrom: z.string().nullable(),
  iqId: z.string(),
  response: z.string().nullable(),
  errorCondition: z.string().nullable(),
  errorText: z.string().nullable(),
  /** Until it is too late. */
  answerInMs: z.number(),
});
export type Pending = z.infer<typeof pending>;

export const selectPending = (db: DatabasePool, accountId: number): Promise<readonly Pending[]> =>
  db.any(sql.type(pending)`
    select id, iq_from as "iqFrom", iq_id as "iqId", response, error_condition as "errorCondition",
      error_text as "errorText", extract(epoch from answer_by - now())::float8 * 1000 as "answerInMs"
    from xmpp_iq_requests
    where account_id = ${accountId} and state = 'pending'
    order by id`);

export const updateOutcome = async (
  db: DatabasePool,
  id: number,
  { state, info }: { state: string; info: string | null },
): Promise<void> => {
  await db.query(sql.unsafe`
    update xmpp_iq_requests set state = ${state}, state_info = ${info}, answered_at = now()
    where id = ${id} and state = 'pending'`);
};

export type Received = {
  accountId: number;
  iqFrom: string | null;
  iqType: string;
  iqId: string;
  namespace: string;
  payload: string;
  timeoutS: number;
};

/** In the inbox's transaction. @returns whether there was room, with `limit` pending ones at most */
export const insertRequest = async (
  client: pg.Client,
  request: Received,
  limit: number,
): Promise<boolean> => {
  const { rowCount } = await client.query({
    name: 'insert_iq_request',
    text: `
      insert into xmpp_iq_requests (account_id, iq_from, iq_type, iq_id, namespace, payload, answer_by)
      select $1, $2, $3::xmpp_iq_type, $4, $5, $6, now() + make_interval(secs => $7)
      where $8 > (select count(*) from xmpp_iq_requests where account_id = $1 and state = 'pending')`,
    values: [
      request.accountId,
      request.iqFrom,
      request.iqType,
      request.iqId,
      request.namespace,
      request.payload,
      request.timeoutS,
      limit,
    ],
  });
  if (rowCount) await client.query("select pg_notify('xmpp_iq_requests', '')");
  return rowCount === 1;
};

const found = z.object({ schema: z.string(), name: z.string(), isCallable: z.boolean() });

type Call = { functionName: string; signature: string; timeoutMs: number };

/**
 * Calls a function that a user has named, in a transaction of its own.
 *
 * @param args one for each type of the signature
 * @returns its result as text
 * @throws Error when it is not there or may not be called, and whatever it raises
 */
const callFunction = (
  db: DatabasePool,
  { functionName, signature, timeoutMs }: Call,
  args: (string | number | null)[],
): Promise<string | null> =>
  db.transaction(async (transaction) => {
    const target = await transaction.maybeOne(sql.type(found)`
      select n.nspname as schema, p.proname as name,
        p.prosecdef and p.prokind = 'f' and has_function_privilege(p.oid, 'execute')
          and has_schema_privilege(n.oid, 'usage') as "isCallable",
        set_config('statement_timeout', ${`${timeoutMs}`}, true) as timeout
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where p.oid = to_regprocedure(${`${functionName}(${signature})`})`);
    if (!target) throw new Error(`there is no function ${functionName}(${signature})`);
    if (!target.isCallable) {
      throw new Error(`${functionName} is not SECURITY DEFINER, or the daemon may not execute it`);
    }
    const typed = signature
      .split(',')
      .map((type, at) => sql.fragment`${args[at] ?? null}::${sql.identifier([type.trim()])}`);
    return transaction.oneFirst(sql.type(z.object({ result: z.string().nullable() }))`
      select ${sql.identifier([target.schema, target.name])}(${sql.join(typed, sql.fragment`, `)})::text as result`);
  });

export type Asked = Pick<Received, 'accountId' | 'iqFrom' | 'iqType' | 'payload'>;

/** @returns what the function answers: XML, or null for nothing */
export const callHandler = (
  db: DatabasePool,
  functionName: string,
  timeoutS: number,
  { accountId, iqFrom, iqType, payload }: Asked,
): Promise<string | null> => {
  const call = { functionName, signature: 'int8,text,text,text', timeoutMs: timeoutS * 1_000 };
  return callFunction(db, call, [accountId, iqFrom, iqType, payload]);
};

const text = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const option = z.union([
  text.transform((value) => ({ label: null, value })),
  z.object({ value: text, label: text.nullish().transform((label) => label ?? null) }),
]);

const field = z.object({
  var: z.string().nullish(),
  type: z.string().nullish(),
  label: z.string().nullish(),
  desc: z.string().nullish(),
  value: z
    .union([z.string(), z.number(), z.boolean(), z.array(text)], {
      error: 'a value is neither text, number, boolean nor a list of them',
    })
    .nullish(),
  options: z.array(option).nullish(),
  required: z.boolean().nullish(),
});
/** A field of a form, as a function states it. */
export type StatedField = z.infer<typeof field>;

const reply = z
  .object({
    note: z.string().nullish(),
    note_type: z.enum(['info', 'warn', 'error']).nullish(),
    title: z.string().nullish(),
    instructions: z.union([text.transform((line) => [line]), z.array(text)]).nullish(),
    form: z.array(field).nullish(),
    result: z.array(field).nullish(),
  })
  .nullable();
/** What a function of a command returns; null for nothing to say. */
export type StatedReply = z.infer<typeof reply>;

/** @throws Error also when the function returns what is no answer */
export const callCommand = async (
  db: DatabasePool,
  functionName: string,
  timeoutS: number,
  { accountId, jid, fields }: { accountId: number; jid: string; fields: CommandFields | null },
): Promise<StatedReply> => {
  const call = { functionName, signature: 'int8,text,jsonb', timeoutMs: timeoutS * 1_000 };
  const json = fields === null ? null : JSON.stringify(fields satisfies SerializableValue);
  const result = await callFunction(db, call, [accountId, jid, json]);
  return reply.parse(result === null ? null : JSON.parse(result));
};
