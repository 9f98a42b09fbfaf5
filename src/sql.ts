/** `rowgram sql`: the embedded PostgreSQL comes without psql, so this stands in for it. */
import { createInterface } from 'node:readline';
import type pg from 'pg';
import { connect, type DatabaseAddress } from './db/connect.ts';
import { errorText } from './errors.ts';

/** A received text must not break the table, nor steer the terminal. */
const escapeControls = (text: string): string =>
  text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) => {
    const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[char];
    return short ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });

const cell = (value: unknown): string => {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return value.toISOString();
  return escapeControls(typeof value === 'object' ? JSON.stringify(value) : String(value));
};

/** Rows in columns, as wide as they need to be. */
export const formatTable = (rows: Record<string, unknown>[]): string => {
  const [first] = rows;
  if (!first) return '(no rows)\n';
  const names = Object.keys(first);
  const lines = [names, ...rows.map((row) => names.map((name) => cell(row[name])))];
  const widths = names.map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  );
  const format = (line: string[]) =>
    line
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  const [head = [], ...body] = lines.map(format);
  return `${[head, widths.map((width) => '-'.repeat(width)).join('  '), ...body].join('\n')}\n`;
};

const runStatement = async (client: pg.Client, statement: string): Promise<void> => {
  const results = [await client.query(statement)].flat();
  for (const { command, rowCount, rows, fields } of results) {
    const isTable = fields.length > 0;
    process.stdout.write(
      isTable ? formatTable(rows) : `${command} ${rowCount ?? ''}\n`.replace(' \n', '\n'),
    );
  }
};

/** Statements end with a semicolon at the end of a line; an error is told and the next one is read. */
const runInput = async (client: pg.Client): Promise<void> => {
  const isTerminal = process.stdin.isTTY === true;
  const input = createInterface({
    input: process.stdin,
    output: process.stdout,
    prompt: 'sql> ',
    terminal: isTerminal,
  });
  let statement = '';
  if (isTerminal) input.prompt();
  for await (const line of input) {
    statement += `${line}\n`;
    if (/;\s*$/.test(line)) {
      await runStatement(client, statement).catch((error: unknown) =>
        process.stdout.write(`error: ${errorText(error)}\n`),
      );
      statement = '';
    }
    if (isTerminal) input.prompt();
  }
  if (statement.trim() !== '') await runStatement(client, statement);
};

/** @param args the statement; none to read statements from standard input */
export const runSql = async (address: DatabaseAddress, args: string[]): Promise<void> => {
  const client = await connect(address, 'sql');
  try {
    if (args.length > 0) await runStatement(client, args.join(' '));
    else await runInput(client);
  } finally {
    await client.end();
  }
};
