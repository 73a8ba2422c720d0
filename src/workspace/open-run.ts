import { realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { ConfigError } from '../errors.js';
import type { Directory } from '../io/directory.js';
import { isDirectory, isFile } from '../io/node.js';
import { openDirectory } from '../io/open-directory.js';
import { hashWeights } from '../record/hashes.js';
import { readRunFolder, type RunBase, type RunFolder } from '../finetune/run-folder.js';
import type { SessionRequest } from '../session.js';

/** What may be said otherwise than a run says it. */
export interface OpenRunOptions {
  /** Folder or Hub id of another base model. */
  readonly model?: string | undefined;
  readonly revision?: string | undefined;
  /** Told of downloads. */
  readonly onMessage?: ((text: string) => void) | undefined;
}

/** A run with its base model: what `openSession` needs besides a device. */
export interface OpenedRun extends Pick<
  SessionRequest,
  'model' | 'adapter' | 'quantization' | 'chatTemplate' | 'chatTemplateKwargs'
> {
  readonly folder: RunFolder;
  /** The base model as it was found: a folder, or an id of the Hub. */
  readonly baseName: string;
}

/**
 * What a folder says of the training that made it: that of a run, one of its checkpoints, a run of an ablation, or a
 * PEFT adapter made elsewhere. Loads no weights.
 * @param path folder, or id of the Hub
 * @throws ConfigError, FormatError
 */
export async function readRun(path: string, { onMessage }: Pick<OpenRunOptions, 'onMessage'> = {}): Promise<RunFolder> {
  return readRunFolder(await openDirectory(path, { onMessage }));
}

/**
 * Opens the folder of a run, a checkpoint or a PEFT adapter together with its base model, quantised and prompted as it
 * was trained: `openSession({ ...(await openRun('out/mine')), device: 'auto', host: nodeHost })`.
 * @throws ConfigError when there is no such folder, or its base model is no longer where it was.
 */
export async function openRun(path: string, { model, revision, onMessage }: OpenRunOptions = {}): Promise<OpenedRun> {
  const folder = await readRun(path, { onMessage });
  const base = model === undefined ? await findBase(folder) : { model, revision };
  const opened =
    base === undefined
      ? folder.directory
      : await openDirectory(base.model, { revision: base.revision ?? undefined, onMessage });
  return {
    ...{ folder, model: opened, baseName: base?.model ?? path },
    adapter: folder.adapter,
    quantization: folder.quantization,
    chatTemplate: folder.chatTemplate,
    chatTemplateKwargs: folder.rows.chat_template_kwargs,
  };
}

/**
 * Where the base model of a run is now: where config.yaml or adapter_config.json say, or beside the run, where both
 * were moved. Undefined where the folder is a model itself.
 * @throws ConfigError naming the places that were looked at.
 */
export async function findBase({ adapter, bases, directory }: RunFolder): Promise<RunBase | undefined> {
  if (adapter === undefined) return undefined;
  if (bases.length === 0) throw new ConfigError(`${directory.name}: names no base model: give it with --model`);
  const looked = new Set<string>();
  const above = [dirname(directory.name), dirname(dirname(directory.name)), dirname(dirname(dirname(directory.name)))];
  const isModel = async (place: string): Promise<boolean> => {
    looked.add(place);
    return isFile(join(place, 'config.json'));
  };
  // A path as PEFT takes it, from the current folder, then from the run's; it may read like an id of the Hub.
  for (const { model, revision } of bases) {
    if (await isModel(resolve(model))) return { model: resolve(model), revision };
    if (!isAbsolute(model) && (await isModel(resolve(directory.name, model))))
      return { model: resolve(directory.name, model), revision };
  }
  const hub = bases.find(({ model }) => /^[A-Za-z0-9][\w.-]*(?:\/[A-Za-z0-9][\w.-]*)?$/.test(model));
  if (hub !== undefined) return hub;
  for (const { model, revision } of bases) {
    for (const folder of above)
      if (await isModel(join(folder, basename(model)))) return { model: join(folder, basename(model)), revision };
  }
  throw new ConfigError(
    `${directory.name}: its base model is not there any more (looked for ${[...looked].join(', ')}): give it with --model`,
  );
}

/** SHA-256 of a model's weights. Those in the Hub's cache are called by it. */
async function weightHashes(directory: Directory): Promise<Record<string, string>> {
  const names = (await directory.list()).filter((name) => /^model(?:-\d+-of-\d+)?\.safetensors$/.test(name));
  const blobs = await Promise.all(
    names.map(async (name) => [name, basename(await realpath(join(directory.name, name)))] as const),
  );
  return blobs.length > 0 && blobs.every(([, blob]) => /^[0-9a-f]{64}$/.test(blob))
    ? Object.fromEntries(blobs)
    : hashWeights(directory);
}

/**
 * What differs between the base model that is used and the one that was trained on, in one line; undefined where
 * nothing does, or where the folder does not say what it was.
 */
export async function baseDifference(
  { baseFiles, bases, directory }: RunFolder,
  model: Directory,
): Promise<string | undefined> {
  if (baseFiles === undefined || !(await isDirectory(model.name))) return undefined;
  const found = await weightHashes(model);
  const names = [...new Set([...Object.keys(baseFiles), ...Object.keys(found)])].sort();
  const different = names.filter((name) => baseFiles[name] !== found[name]);
  if (different.length === 0) return undefined;
  return `${model.name} is not the base model that ${directory.name} was trained on (${bases[0]?.model ?? 'unnamed'}): ${different.join(', ')} ${different.length === 1 ? 'differs' : 'differ'}`;
}
