import { glob, isDynamicPattern } from 'tinyglobby';
import { hubDataset } from '../config/paths.js';
import type { RunConfig } from '../config/schema.js';
import type { DataPart } from '../data/parts.js';
import { selectDataFiles, type FileSelection } from '../data/select.js';
import { ConfigError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import type { RunData } from '../finetune/request.js';
import { fileSource, isDirectory, isFile, localDirectory } from '../io/node.js';
import { openDirectory } from '../io/open-directory.js';

/** What an option of data may hold. */
export type DataValue = RunConfig['data']['train'] | readonly string[];

/** Data by the option that names it. */
export type DataPaths = Readonly<Record<string, DataValue | undefined>>;

/** Where a file lies that an option names by this path. */
export type Locate = (path: string) => string;

export const asNamed: Locate = (path) => path;

export interface DataFilesOptions {
  readonly locate?: Locate | undefined;
  /** Told of what is downloaded. */
  readonly onMessage?: ((text: string) => void) | undefined;
}

type Entry = Exclude<RunConfig['data']['train'], string | readonly unknown[]>;

/**
 * Opens the data of several options at once: files, folders, data sets of the Hub. The last word of an option tells the
 * split that is meant where none is named.
 * @throws ConfigError listing every file that is not there.
 */
export async function openDataFiles<const P extends DataPaths>(
  paths: P,
  options: DataFilesOptions = {},
): Promise<{ sources: { [K in keyof P]: DataPart[] }; close(): Promise<void> }> {
  const missing: string[] = [];
  const opened: ByteSource[] = [];
  const parts: Record<string, DataPart[]> = {};
  const close = async (): Promise<void> => {
    for (const source of opened) await source.close();
  };
  try {
    for (const [option, value] of Object.entries(paths)) {
      const list: DataPart[] = [];
      parts[option] = list;
      for (const entry of entriesOf(value)) {
        const { path, split, data_files: files, name = path, weight, ...own } = entry;
        const word = /(train|validation)$/.exec(option)?.[1] ?? 'test';
        const sources = await openEntry(path, { split, files, defaultSplit: word }, options);
        if (sources === undefined)
          missing.push(
            `${option}: ${path}: ${isDynamicPattern(path) ? 'no file matches this pattern' : 'no such file'}`,
          );
        else opened.push(...sources);
        list.push({ name, sources: sources ?? [], options: own, weight });
      }
    }
    if (missing.length > 0) throw new ConfigError(missing.join('\n'));
  } catch (error) {
    await close();
    throw error;
  }
  return { sources: parts as { [K in keyof P]: DataPart[] }, close };
}

/**
 * Opens the rows that a config names, as `finetune` takes them.
 * @throws as openDataFiles.
 */
export async function openRunData(
  { data: { train, validation, test } }: Pick<RunConfig, 'data'>,
  options: DataFilesOptions = {},
): Promise<{ data: RunData; close: () => Promise<void> }> {
  const files = await openDataFiles({ 'data.train': train, 'data.validation': validation, 'data.test': test }, options);
  const { sources } = files;
  return {
    data: {
      train: sources['data.train'],
      validation: validation === undefined ? undefined : sources['data.validation'],
      test: test === undefined ? undefined : sources['data.test'],
    },
    close: () => files.close(),
  };
}

/** What an option lists. */
export function entriesOf(value: DataValue | undefined): Entry[] {
  const list =
    value === undefined
      ? []
      : Array.isArray(value)
        ? (value as readonly (string | Entry)[])
        : [value as string | Entry];
  return list.map((entry) => (typeof entry === 'string' ? { path: entry } : entry));
}

/** Undefined where there is no such file. */
async function openEntry(
  path: string,
  selection: FileSelection,
  { locate = asNamed, onMessage }: DataFilesOptions,
): Promise<ByteSource[] | undefined> {
  const select = (files: readonly string[]): string[] => selectDataFiles(files, selection, path);
  if (await isDirectory(path)) return openFolder(path, path, select);
  const id = hubDataset(path);
  if (id !== undefined) {
    const { name } = await openDirectory(id, { kind: 'dataset', select, onMessage });
    return openFolder(name, id, select);
  }
  const files = (await isFile(locate(path))) ? [path] : await matchingFiles(path);
  if (files.length === 0) return undefined;
  if (selection.split !== undefined || selection.files !== undefined)
    throw new ConfigError(
      `${path}: ${files[0] === path ? 'is a file' : 'names files'}: split and data_files choose among those of a folder or of the Hub`,
    );
  return openAll(files.map((file) => [locate(file), file]));
}

/**
 * Files that match a pattern (`*`, `**`, `?`, braces), in the order of their names; none where the path is no pattern.
 */
async function matchingFiles(path: string): Promise<string[]> {
  if (!isDynamicPattern(path)) return [];
  // A folder may have a name that reads like a pattern.
  const steps = path.split(/[\\/]/);
  let taken = 1;
  while (taken < steps.length - 1 && (await isDirectory(steps.slice(0, taken + 1).join('/')))) taken++;
  const inside = taken > 1 || steps[0] === '' || (await isDirectory(steps[0] ?? ''));
  const folder = inside ? steps.slice(0, taken).join('/') : '';
  const found = await glob([steps.slice(inside ? taken : 0).join('/')], {
    cwd: folder === '' ? (steps[0] === '' ? '/' : '.') : folder,
    expandDirectories: false,
  });
  return found.map((file) => (inside ? `${folder}/${file}` : file)).sort();
}

async function openFolder(
  folder: string,
  name: string,
  select: (files: readonly string[]) => string[],
): Promise<ByteSource[]> {
  return openAll(select(await localDirectory(folder).list()).map((file) => [`${folder}/${file}`, `${name}/${file}`]));
}

/** @throws what opening one throws, the others being closed. */
async function openAll(files: readonly (readonly [path: string, name: string])[]): Promise<ByteSource[]> {
  const sources: ByteSource[] = [];
  try {
    for (const [path, name] of files) sources.push(await fileSource(path, name));
  } catch (error) {
    for (const source of sources) await source.close();
    throw error;
  }
  return sources;
}
