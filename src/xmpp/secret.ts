/** Where a password or another secret comes from. */
import { readFile } from 'node:fs/promises';
import { ConfigError } from '../errors.ts';

/**
 * The secret itself, or what it refers to, read anew at each login.
 *
 * @param column where it stands, for the error
 * @throws ConfigError when there is nothing where it refers to
 */
export const readSecret = async (text: string, column: string): Promise<string> => {
  const [, kind, name = ''] = /^(env|file):(.+)$/s.exec(text) ?? [];
  if (kind === 'env') {
    const value = process.env[name];
    if (value !== undefined) return value;
    throw new ConfigError(`${column} names the environment variable ${name}, which is not set`);
  }
  if (kind !== 'file') return text;
  const content = await readFile(name, 'utf8').catch((cause: unknown) => {
    throw new ConfigError(`${column} names the file ${name}, which cannot be read`, { cause });
  });
  return content.replace(/\r?\n$/, '');
};
