/** Finds a program of the system. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** @param folders where to look besides the PATH, which services often have short */
export const findProgram = (name: string, folders: string[]): string | null =>
  [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...folders]
    .map((folder) => join(folder, name))
    .find(isExecutable) ?? null;

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // There is no question to the system that answers this without an exception.
    return false;
  }
};
