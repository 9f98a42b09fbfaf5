/** Files that rows name, none but those below the one directory that is meant for it. */
import { constants, type FileHandle, lstat, open, realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { RejectError } from '../../errors.ts';

export type OpenFile = {
  sizeBytes: number;
  /** Exactly so many bytes; @throws when the file has become shorter */
  pieces(): AsyncIterable<Buffer>;
  close(): Promise<void>;
};

const PIECE_BYTES = 65_536;

const refuse = (reason: string): RejectError =>
  new RejectError(`attachment_path ${reason}`, 'bad-request');

const isBelow = (dir: string, path: string): boolean => {
  const way = relative(dir, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
};

const follow = async (path: string): Promise<string> => {
  try {
    return await realpath(path);
  } catch (cause) {
    throw new RejectError('attachment_path names no file that can be read', 'item-not-found', {
      cause,
    });
  }
};

/** That which was looked at is what was opened: a link may have come in between. */
const requireSame = async (handle: FileHandle, path: string): Promise<number> => {
  const [opened, there, real] = await Promise.all([handle.stat(), lstat(path), realpath(path)]);
  const isSame = opened.ino === there.ino && opened.dev === there.dev && real === path;
  if (!isSame) throw refuse('leads out of ROWGRAM_ATTACHMENT_DIR');
  if (!opened.isFile()) throw refuse('names no regular file');
  return opened.size;
};

async function* readPieces(handle: FileHandle, sizeBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < sizeBytes; ) {
    const wanted = Math.min(PIECE_BYTES, sizeBytes - at);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(wanted), 0, wanted, at);
    if (bytesRead === 0) throw new Error('the file has become shorter');
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/**
 * Opens a file that is really below `dir`, whatever `..` and links say.
 *
 * @param path as a row has it: from `dir`, or from the root
 * @throws RejectError when it is not, or is no regular file
 */
export const openFileBelow = async (dir: string | null, path: string): Promise<OpenFile> => {
  if (dir === null)
    throw new RejectError('attachment_path needs ROWGRAM_ATTACHMENT_DIR', 'bad-request');
  if (!isBelow(resolve(dir), resolve(dir, path))) {
    throw refuse('leads out of ROWGRAM_ATTACHMENT_DIR');
  }
  const [root, real] = await Promise.all([follow(dir), follow(resolve(dir, path))]);
  if (!isBelow(root, real)) throw refuse('leads out of ROWGRAM_ATTACHMENT_DIR');
  // Without waiting for whoever may write into a pipe.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(real, flags).catch((cause: unknown) => {
    throw new RejectError('attachment_path names no file that can be read', 'item-not-found', {
      cause,
    });
  });
  try {
    const sizeBytes = await requireSame(handle, real);
    return { sizeBytes, pieces: () => readPieces(handle, sizeBytes), close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
};
