/** Writers that insert single rows as fast as they can: pgbench where there is one, else Node. */
import { execFile } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { type DatabaseAddress, urlWithSchema } from '../src/db/connect.ts';
import { nowMs } from './clock.ts';
import { openClients } from './engines/clients.ts';

/** @returns inserts a second */
export type Writers = (address: DatabaseAddress, count: number, seconds: number) => Promise<number>;

const THREADS = 2;

export const findPgbench = (): string | null => {
  const onPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'pgbench'));
  const installed = globSync('/usr/lib/postgresql/*/bin/pgbench').sort().reverse();
  return [...onPath, ...installed].find(existsSync) ?? null;
};

const runPgbench = (program: string, script: string): Writers => {
  return async (address, count, seconds) => {
    const options = ['-n', '-M', 'prepared', '-c', `${count}`, '-j', `${THREADS}`];
    const args = [...options, '-T', `${seconds}`, '-f', script, urlWithSchema(address)];
    const { stdout } = await promisify(execFile)(program, args);
    const tps = /^tps = ([\d.]+)/m.exec(stdout)?.[1];
    if (!tps) throw new Error(`pgbench said: ${stdout}`);
    return Number(tps);
  };
};

const runClients = (statement: string): Writers => {
  return async (address, count, seconds) => {
    const { inserts, close } = await openClients(address, count, statement);
    const endMs = nowMs() + seconds * 1_000;
    let done = 0;
    const write = async (insert: (key: number) => Promise<void>) => {
      while (nowMs() < endMs) {
        await insert(done);
        done += 1;
      }
    };
    await Promise.all(inserts.map(write));
    await close();
    return done / seconds;
  };
};

/** @param formatInsert the statement, given its one value as SQL */
export const createWriters = async (
  dir: string,
  formatInsert: (value: string) => string,
  say: (text: string) => void,
): Promise<Writers> => {
  const program = findPgbench();
  say(`writers: ${program ?? 'Node clients, since there is no pgbench'}`);
  if (program === null) return runClients(formatInsert('$1'));
  const script = join(dir, 'insert.sql');
  await writeFile(script, `${formatInsert("'7'")};\n`);
  return runPgbench(program, script);
};
