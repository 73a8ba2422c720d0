import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ConfigError } from '../errors.js';
import { sizeText } from '../plan/limits.js';

/** A folder that somebody wants to write to. */
export interface Wanted {
  readonly path: string;
  /** The option that names it, and what it holds. */
  readonly option: string;
  readonly given: string;
}

/** What `requireWritable` makes for a moment. */
export const PROBE = /^\.[0-9a-f]{12}\.tmp$/;

/**
 * Makes the folder aside with a file in it, and removes it: permissions, read-only disks, names that are too long and
 * full disks show. Nothing else is touched.
 * @throws ConfigError saying why the folder cannot be made or written to.
 */
export async function requireWritable({ path, option, given }: Wanted): Promise<void> {
  const wrong = (reason: string): ConfigError =>
    new ConfigError(`${option}: ${given}: ${reason}; choose another folder`);
  let [nearest, rest] = [resolve(path), [] as string[]];
  for (let kind = await kindOf(nearest); kind !== 'folder'; kind = await kindOf(nearest)) {
    if (kind === 'file') throw wrong(`${nearest} is a file`);
    if (kind === 'nowhere') throw wrong(`${nearest} is a link that leads nowhere`);
    [nearest, rest] = [dirname(nearest), [basename(nearest), ...rest]];
  }
  const probe = join(nearest, `.${randomBytes(6).toString('hex')}.tmp`);
  try {
    // One by one: with `recursive` Node tells ENOENT of a read-only disk, and does not come back from some of the
    // system's own folders.
    let folder = probe;
    for (const name of ['', ...rest]) await mkdir((folder = join(folder, name)));
    await writeFile(join(folder, 'probe'), 'probe');
  } catch (error) {
    throw wrong(reasonOf(error, nearest));
  } finally {
    await rm(probe, { recursive: true, force: true }).catch(() => undefined);
  }
}

/**
 * @param bytes that are about to be written
 * @param freed bytes of what is removed before that
 * @param what needs them, for the message
 * @throws ConfigError where the disk has less free.
 */
export async function requireSpace(
  { path, option, given }: Wanted,
  bytes: number,
  what: string,
  freed = 0,
): Promise<void> {
  const free = await freeBytes(path);
  if (free === undefined || bytes <= free + freed) return;
  throw new ConfigError(
    `${option}: ${given}: ${what} need about ${sizeText(bytes)}, and ${sizeText(free)} are free on that disk; choose another folder or make room`,
  );
}

/** Bytes of the files below; 0 where there are none. */
export async function bytesBelow(folder: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) sum += await bytesBelow(path);
    else if (entry.isFile()) sum += (await stat(path).catch(() => undefined))?.size ?? 0;
  }
  return sum;
}

/** Undefined where the system does not tell: some disks have no size. */
async function freeBytes(path: string): Promise<number | undefined> {
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      const { bavail, bsize, blocks } = await statfs(at);
      return blocks === 0 ? undefined : bavail * bsize;
    } catch {
      if (dirname(at) === at) return undefined;
    }
  }
}

async function kindOf(path: string): Promise<'folder' | 'file' | 'nowhere' | 'none'> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch {
    // What cannot be looked at cannot be written to either, as the probe in a folder above says.
    const link = await lstat(path).catch(() => undefined);
    return link?.isSymbolicLink() === true ? 'nowhere' : 'none';
  }
}

function reasonOf(error: unknown, nearest: string): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return `no permission to write in ${nearest}`;
    case 'EROFS':
      return `${nearest} is on a disk that is read-only`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `no space left on the disk of ${nearest}`;
    case 'ENAMETOOLONG':
      return 'its name is too long for the disk';
    default:
      return `cannot be written to: ${message}`;
  }
}
