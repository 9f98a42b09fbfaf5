/** Where a password comes from. */
import { readFile } from 'node:fs/promises';
import { ConfigError } from '../errors.ts';

/** The password itself, or what it refers to, read anew at each login. */
export const readPassword = async (text: string): Promise<string> => {
  const [, kind, name = ''] = /^(env|file):(.+)$/s.exec(text) ?? [];
  if (kind === 'env') {
    const value = process.env[name];
    if (value !== undefined) return value;
    throw new ConfigError(`acc_pass names the environment variable ${name}, which is not set`);
  }
  if (kind !== 'file') return text;
  const content = await readFile(name, 'utf8').catch((cause: unknown) => {
    throw new ConfigError(`acc_pass names the file ${name}, which cannot be read`, { cause });
  });
  return content.replace(/\r?\n$/, '');
};
