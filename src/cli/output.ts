import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, appendFile, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ADAPTER_CONFIG } from '../adapters/peft-files.js';
import { ConfigError } from '../errors.js';
import { isDirectory, isFile, writeFileAtomic } from '../node.js';

export const METRICS_FILE = 'metrics.jsonl';

/** The folder that a run writes to. Nothing is touched before `begin`. */
export interface OutputFolder {
  readonly path: string;
  /** Makes the folder, with an empty log. */
  begin(): Promise<void>;
  /** Adds one line to metrics.jsonl. */
  append(metrics: object): Promise<void>;
  /** Puts the files of the result in place, all written before the first of them appears. */
  finish(files: Readonly<Record<string, Uint8Array | string>>): Promise<void>;
}

/**
 * Checks that a run may write to the folder.
 * @throws ConfigError when it holds files and `overwrite` is false, is a file itself, or cannot be written to.
 */
export async function planOutput(path: string, overwrite: boolean): Promise<OutputFolder> {
  const folder = resolve(path);
  if (await isFile(folder)) throw new ConfigError(`training.output_dir: ${path} is a file`);
  const present = (await isDirectory(folder)) ? await readdir(folder) : [];
  if (present.length > 0 && !overwrite) {
    throw new ConfigError(`training.output_dir: ${path} holds files already; --set training.overwrite_output_dir=true replaces those of an earlier run`);
  }
  await checkWritable(folder, path);
  const log = join(folder, METRICS_FILE);
  return {
    path: folder,
    async begin() {
      await mkdir(folder, { recursive: true });
      await writeFileAtomic(log, '');
    },
    async append(metrics) {
      // One write a line: a reader never sees half of one.
      await appendFile(log, `${JSON.stringify(metrics)}\n`);
    },
    async finish(files) {
      await placeTogether(folder, files);
    },
  };
}

/**
 * A crash leaves either the earlier adapter, or a folder without adapter_config.json, which nothing takes for an adapter: never
 * the weights of one run beside the settings of another.
 */
async function placeTogether(folder: string, files: Readonly<Record<string, Uint8Array | string>>): Promise<void> {
  const stage = join(folder, `.${randomBytes(6).toString('hex')}.new`);
  try {
    for (const [name, content] of Object.entries(files)) await writeFileAtomic(join(stage, name), content);
    await rm(join(folder, ADAPTER_CONFIG), { force: true });
    const names = Object.keys(files).filter((name) => name !== ADAPTER_CONFIG);
    if (files[ADAPTER_CONFIG] !== undefined) names.push(ADAPTER_CONFIG);
    for (const name of names) await rename(join(stage, name), join(folder, name));
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

async function checkWritable(folder: string, name: string): Promise<void> {
  let nearest = folder;
  while (!(await isDirectory(nearest)) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  try {
    await access(nearest, constants.W_OK);
  } catch {
    throw new ConfigError(`training.output_dir: ${name}: no permission to write in ${nearest}`);
  }
}
