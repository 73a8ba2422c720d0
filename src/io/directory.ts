import { FormatError } from '../errors.js';
import { decodeUtf8, parseJson } from './json.js';
import { blobSource, memorySource, type ByteSource } from './source.js';

/** A folder of files, on disk or in memory. Paths are relative, with `/`. */
export interface Directory {
  readonly name: string;
  /** Paths of all files below, sorted. */
  list(): Promise<string[]>;
  /** Undefined when there is no such file. @throws FormatError when the path leads out of the folder. */
  open(path: string): Promise<ByteSource | undefined>;
}

/** A folder in memory, of files by path. */
export function memoryDirectory(name: string, files: Readonly<Record<string, Uint8Array | string>>): Directory {
  const entries = new Map(Object.entries(files));
  return {
    name,
    async list() {
      return [...entries.keys()].sort();
    },
    async open(path) {
      const content = entries.get(relativePath(path, name));
      if (content === undefined) return undefined;
      const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
      return memorySource(`${name}/${path}`, bytes);
    },
  };
}

/**
 * A folder that lies over another: a file of its own hides one of the other. `only` says which of its files count; all
 * unless given.
 */
export function overlaid(base: Directory, top: Directory, only: (path: string) => boolean = () => true): Directory {
  return {
    name: base.name,
    async list() {
      return [...new Set([...(await base.list()), ...(await top.list()).filter(only)])].sort();
    },
    async open(path) {
      return (only(path) ? await top.open(path) : undefined) ?? (await base.open(path));
    },
  };
}

/** Files that a browser's user picked, by their relative path. */
export function blobDirectory(name: string, files: ReadonlyMap<string, Blob>): Directory {
  return {
    name,
    async list() {
      return [...files.keys()].sort();
    },
    async open(path) {
      const blob = files.get(relativePath(path, name));
      return blob === undefined ? undefined : blobSource(`${name}/${path}`, blob);
    },
  };
}

/** The whole of a UTF-8 file, or undefined when there is none. @throws FormatError */
export async function readText(directory: Directory, path: string): Promise<string | undefined> {
  const source = await directory.open(path);
  if (source === undefined) return undefined;
  try {
    return decodeUtf8(await source.read(0, source.size), source.name);
  } finally {
    await source.close();
  }
}

/** A JSON file, or undefined when there is none. @throws FormatError with file, line and column */
export async function readJson(directory: Directory, path: string): Promise<unknown> {
  const text = await readText(directory, path);
  return text === undefined ? undefined : parseJson(text, `${directory.name}/${path}`);
}

/**
 * The path itself when it stays inside its folder under the rules of POSIX and of Windows alike: file names come out
 * of downloaded indices, and what is harmless here must not write or read elsewhere on another machine.
 * @throws FormatError
 */
export function relativePath(path: string, name: string): string {
  const parts = path.split('/');
  const leaves = parts.some((part) => part === '' || part === '.' || part === '..' || /[\\\0]|^[A-Za-z]:/.test(part));
  if (leaves) throw new FormatError(`${name}: ${JSON.stringify(path)} is no relative path inside the folder`);
  return path;
}
