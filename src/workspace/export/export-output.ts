import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { ConfigError } from '../../errors.js';
import type { OutputFile } from '../../export/output.js';
import type { Directory } from '../../io/directory.js';
import { isDirectory, isFile, localDirectory, writeFileAtomic } from '../../io/node.js';
import { requireSpace, requireWritable } from '../writable.js';
import { formatBytes } from '../../format.js';
import { hashing, requireWritten } from './read-back.js';
import { stageOutput } from '../staged-output.js';

/** A message is sent when a file larger than this is written. */
const SLOW_BYTES = 100e6;

/** A file that was written, by its path within the output. */
export interface WrittenFile {
  readonly path: string;
  readonly bytes: number;
}

export interface ExportOptions {
  /** Whether files that are there are replaced. */
  readonly overwrite: boolean;
  readonly onMessage?: ((message: string) => void) | undefined;
  /** Called once everything is in its place. `output` is as the caller named it. */
  readonly onWritten?: ((output: string, files: readonly WrittenFile[]) => void) | undefined;
}

/** The folder or file that an export goes to; nothing is written before `write`. */
export interface ExportOutput {
  /**
   * Puts all files in place at once. A folder that is there is replaced as a whole.
   * @param check told of the files before they get their place: what it throws leaves everything as it was
   * @throws LowrankError when what is on disk is not what was written
   */
  write(files: readonly OutputFile[], check?: (written: Directory) => Promise<void>): Promise<void>;
}

/**
 * @param inputs folders that are read while the output is written
 * @throws ConfigError when the folder holds files and `overwrite` is false, or an input lies in it.
 */
export async function planExport(
  path: string,
  { overwrite, inputs, onMessage, onWritten }: ExportOptions & { readonly inputs: readonly string[] },
): Promise<ExportOutput> {
  const target = resolve(path);
  if (await isFile(target)) throw new ConfigError(`--output ${path}: is a file, not a folder to write to`);
  const present = (await isDirectory(target)) ? await readdir(target) : [];
  const real = await existingPath(target);
  for (const input of inputs) {
    const place = await existingPath(resolve(input));
    if (place === real || place.startsWith(`${real}${sep}`))
      throw new ConfigError(`--output ${path}: holds ${input}, which is read for this export`);
  }
  if (present.length > 0 && !overwrite)
    throw new ConfigError(`--output ${path}: holds files already; --overwrite replaces the folder`);
  const wanted = { path: target, option: '--output', given: path };
  // It is written beside the target and takes its place by its name, which that of another disk cannot.
  if ((await isDirectory(target)) && (await stat(target)).dev !== (await stat(dirname(target))).dev)
    throw new ConfigError(
      `--output ${path}: is where a disk is mounted: name a folder in it, such as ${join(path, 'model')}`,
    );
  await requireWritable({ ...wanted, path: (await isDirectory(target)) ? dirname(target) : target });
  return {
    async write(files, check) {
      await requireSpace(wanted, bytesOf(files), 'its files');
      const staged = await stageOutput(target, () => onMessage?.('stopped: nothing was written'));
      const written: WrittenFile[] = [];
      try {
        for (const file of files) {
          const place = join(staged.path, file.path);
          const { content, digest } = hashing(file);
          await writeFileAtomic(place, content);
          await requireWritten(place, digest(), file.path);
          const { size } = await stat(place);
          if (size >= SLOW_BYTES) onMessage?.(`${file.path}: ${formatBytes(size)}`);
          written.push({ path: file.path, bytes: size });
        }
        await check?.(localDirectory(staged.path));
        await staged.commit();
      } catch (error) {
        await staged.discard();
        throw error;
      }
      onWritten?.(path, written);
    },
  };
}

/** A single file as output. @throws ConfigError when it exists and `overwrite` is false. */
export async function planExportFile(
  path: string,
  { overwrite, onWritten }: ExportOptions,
): Promise<{ write(content: Uint8Array): Promise<void> }> {
  if (await isDirectory(path)) throw new ConfigError(`--output ${path}: is a folder`);
  if ((await isFile(path)) && !overwrite)
    throw new ConfigError(`--output ${path}: is there already; --overwrite replaces it`);
  await requireWritable({
    path: (await isFile(path)) ? dirname(resolve(path)) : path,
    option: '--output',
    given: path,
  });
  return {
    async write(content) {
      await requireSpace({ path, option: '--output', given: path }, content.byteLength, 'its bytes');
      await writeFileAtomic(path, content);
      onWritten?.(path, [{ path: basename(path), bytes: content.byteLength }]);
    },
  };
}

/** Large files tell how much is to come. */
function bytesOf(files: readonly OutputFile[]): number {
  return files.reduce(
    (sum, { content, bytes }) =>
      sum + (bytes ?? (typeof content === 'string' || content instanceof Uint8Array ? content.length : 0)),
    0,
  );
}

/** The path without links, as far up as it exists. */
async function existingPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return dirname(path) === path ? path : join(await existingPath(dirname(path)), basename(path));
  }
}
