import { ConfigError } from '../errors.js';
import type { ByteSource } from '../io/source.js';
import { fileSource, isFile } from '../node.js';

/** Data files by the option that names them. */
export type DataPaths = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Opens the files of several options at once.
 * @throws ConfigError listing every file that is not there.
 */
export async function openDataFiles<const P extends DataPaths>(paths: P): Promise<{ sources: { [K in keyof P]: ByteSource[] }; close(): Promise<void> }> {
  const missing: string[] = [];
  const opened: ByteSource[] = [];
  const sources: Record<string, ByteSource[]> = {};
  for (const [option, value] of Object.entries(paths)) {
    const list: ByteSource[] = [];
    for (const path of value === undefined ? [] : typeof value === 'string' ? [value] : value) {
      if (await isFile(path)) list.push(await fileSource(path));
      else missing.push(`${option}: ${path}: no such file`);
    }
    opened.push(...list);
    sources[option] = list;
  }
  const close = async (): Promise<void> => {
    for (const source of opened) await source.close();
  };
  if (missing.length > 0) {
    await close();
    throw new ConfigError(missing.join('\n'));
  }
  return { sources: sources as { [K in keyof P]: ByteSource[] }, close };
}
