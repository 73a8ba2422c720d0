import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ConfigError, LowrankError } from '../errors.js';
import { relativePath, type Directory } from './directory.js';
import { checkRange, shortRead, type ByteSource } from './source.js';

/** A file on disk, read range by range. */
export async function fileSource(path: string, name = path): Promise<ByteSource> {
  const handle = await open(path, 'r');
  const { size } = await handle.stat().catch(async (error: unknown) => {
    await handle.close();
    throw error;
  });
  return {
    name,
    size,
    async read(offset, length) {
      checkRange(name, size, offset, length);
      const bytes = new Uint8Array(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await handle.read(bytes, filled, Math.min(length - filled, 2 ** 30), offset + filled);
        if (bytesRead === 0) throw shortRead(name, offset, length, filled);
        filled += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}

/** A folder on disk. Hidden files are not listed. */
export function localDirectory(path: string): Directory {
  const walk = async (below: string): Promise<string[]> => {
    const files: string[] = [];
    for (const entry of await readdir(join(path, below), { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      const child = below === '' ? entry.name : `${below}/${entry.name}`;
      // A cache's files are links to blobs, so links are followed for files but not for folders, which may form rings.
      if (entry.isDirectory()) files.push(...(await walk(child)));
      else if (entry.isFile() || (entry.isSymbolicLink() && (await isFile(join(path, child))))) files.push(child);
    }
    return files;
  };
  return {
    name: path,
    async list() {
      return (await isDirectory(path)) ? (await walk('')).sort() : [];
    },
    async open(file) {
      const full = join(path, relativePath(file, path));
      return (await isFile(full)) ? fileSource(full) : undefined;
    },
  };
}

/** Whether there is such a file. */
export async function isFile(path: string): Promise<boolean> {
  return (await statOrNothing(path))?.isFile() ?? false;
}

/** Whether there is such a folder. */
export async function isDirectory(path: string): Promise<boolean> {
  return (await statOrNothing(path))?.isDirectory() ?? false;
}

type FileContent = string | Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Writes a file so that after a crash at any moment the old content or the whole new content is there: to a
 * temporary file beside it, flushed to disk, then renamed. Folders on the way are made.
 * @throws LowrankError when the disk is full, with nothing left behind.
 */
export async function writeFileAtomic(path: string, data: FileContent): Promise<void> {
  const target = resolve(path);
  const temporary = join(dirname(target), `.${basename(target)}.${randomName()}.tmp`);
  try {
    await mkdir(dirname(target), { recursive: true });
    const handle = await open(temporary, 'wx');
    try {
      const parts = typeof data === 'string' || data instanceof Uint8Array ? [data] : data;
      for await (const part of parts) await handle.writeFile(part);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
    await syncDirectory(dirname(target));
  } catch (error) {
    await rm(temporary, { force: true });
    throw writeError(error, path);
  }
}

/** A folder in the making: nobody sees it under its own name before `commit`. */
export interface StagedDirectory {
  /** Write here. */
  readonly path: string;
  /** Flushes everything to disk and puts it in the place of what was there. */
  commit(): Promise<void>;
  /** Removes what was written; what was there before stays. */
  discard(): Promise<void>;
}

/**
 * Prepares the folder `path` aside, on the same disk. A folder that a crash caught between the two renames of a
 * commit is put back first.
 * @throws ConfigError when `path` is a file.
 */
export async function stageDirectory(path: string): Promise<StagedDirectory> {
  const target = resolve(path);
  const parent = dirname(target);
  if (await isFile(target)) throw new ConfigError(`${path}: is a file, not a folder to write to`);
  const aside = (kind: string): string => join(parent, `.${basename(target)}.${randomName()}.${kind}`);
  const staged = aside('new');
  try {
    await mkdir(parent, { recursive: true });
    await putBack(target);
    await mkdir(staged);
  } catch (error) {
    throw writeError(error, path);
  }
  return {
    path: staged,
    async commit() {
      try {
        await syncTree(staged);
        const old = aside('old');
        const replaces = await isDirectory(target);
        if (replaces) await rename(target, old);
        try {
          await rename(staged, target);
        } catch (error) {
          if (replaces) await rename(old, target);
          throw error;
        }
        await syncDirectory(parent);
        if (replaces) await rm(old, { recursive: true, force: true });
      } catch (error) {
        throw writeError(error, path);
      }
    },
    async discard() {
      await rm(staged, { recursive: true, force: true });
    },
  };
}

/**
 * A full disk, a file larger than the system lets it be, a place that cannot be written to, as one sentence; everything
 * else unchanged.
 */
export function writeError(error: unknown, path: string): unknown {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new LowrankError(`${path}: no space left on the disk; nothing was changed`, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ENAMETOOLONG')
    return new LowrankError(`${path}: cannot be written: ${(error as Error).message}`, { cause: error });
  if (code === 'EFBIG') {
    return new LowrankError(`${path}: larger than the system lets a file be (ulimit -f); nothing was changed`, {
      cause: error,
    });
  }
  return error;
}

async function putBack(target: string): Promise<void> {
  if ((await statOrNothing(target)) !== undefined) return;
  const prefix = `.${basename(target)}.`;
  const left = (await readdir(dirname(target))).filter(
    (name) => name.startsWith(prefix) && /\.[0-9a-f]{12}\.old$/.test(name),
  );
  const last = left[0];
  if (left.length === 1 && last !== undefined) await rename(join(dirname(target), last), target);
}

async function syncTree(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) await syncTree(child);
    else if (entry.isFile()) await syncFile(child);
  }
  await syncDirectory(path);
}

async function syncDirectory(path: string): Promise<void> {
  // Windows cannot open folders; its renames need no flush of the folder.
  if (process.platform !== 'win32') await syncPath(path, 'r');
}

/** Flushes what was written to a file to disk. */
export function syncFile(path: string): Promise<void> {
  return syncPath(path, 'r+');
}

async function syncPath(path: string, flags: string): Promise<void> {
  const handle = await open(path, flags);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function statOrNothing(path: string): Promise<Awaited<ReturnType<typeof stat>> | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
    throw error;
  }
}

function randomName(): string {
  return randomBytes(6).toString('hex');
}
