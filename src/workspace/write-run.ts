import { mkdir, readdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { serializeConfig } from '../config/load.js';
import { resolvePaths } from '../config/paths.js';
import type { RunConfig } from '../config/schema.js';
import { ConfigError } from '../errors.js';
import type { FinetuneResult } from '../finetune/request.js';
import { isDirectory, isFile } from '../io/node.js';
import { CONFIG_FILE } from '../finetune/options.js';
import { lockFolder } from './folder-lock.js';
import { placeTogether } from './output.js';

/**
 * Writes what `finetune` made to a folder, all of it or nothing: adapter, tokenizer, config, record and model card. The
 * paths in config.yaml are written relative to the folder; relative ones start from the current folder.
 * @returns the folder, absolute.
 * @throws ConfigError when the folder holds files and `overwrite` is not set, is a file, or another process writes to
 * it.
 */
export async function writeRun(
  path: string,
  { files, config }: Pick<FinetuneResult, 'files' | 'config'>,
  { overwrite = false }: { readonly overwrite?: boolean } = {},
): Promise<string> {
  const folder = resolve(path);
  if (await isFile(folder)) throw new ConfigError(`${path}: is a file, not a folder to write to`);
  const present = (await isDirectory(folder)) ? (await readdir(folder)).filter((name) => !name.startsWith('.')) : [];
  if (present.length > 0 && !overwrite)
    throw new ConfigError(`${path}: holds files already; { overwrite: true } replaces those of an earlier run`);
  const absolute = resolvePaths(
    { ...config, training: { ...config.training, output_dir: folder } },
    process.cwd(),
  ) as RunConfig;
  await mkdir(folder, { recursive: true });
  const lock = await lockFolder(folder);
  try {
    await placeTogether(folder, { ...files, [CONFIG_FILE]: serializeConfig(absolute, folder) });
  } finally {
    lock.release();
  }
  return folder;
}
