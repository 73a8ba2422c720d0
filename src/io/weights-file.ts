import { FormatError } from '../errors.js';
import { readText, relativePath, type Directory } from './directory.js';
import { finiteValues } from './finite.js';
import { duplicateKeys, isRecord, parseJson } from './json.js';
import { mismatches, type SafetensorsDtype } from './safetensors-header.js';
import { SafetensorsFile, type TensorBytes } from './safetensors.js';
import type { ByteSource } from './source.js';

export const CHECKPOINT_FILE = 'model.safetensors';
export const CHECKPOINT_INDEX = 'model.safetensors.index.json';

/** The weights of a model, in one file or many, read tensor by tensor. */
export interface Checkpoint {
  readonly name: string;
  /** `__metadata__` of all files together. Some models alias tensors here: a missing one's name to a stored one's. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Names of all tensors. */
  names(): string[];
  /** Whether there is a tensor of this name. */
  has(name: string): boolean;
  /** @throws FormatError when there is no such tensor. */
  info(name: string): { dtype: SafetensorsDtype; shape: readonly number[] };
  /** A tensor with its bytes. @throws FormatError for a name that is not there, or a file that ends too early. */
  read(name: string): Promise<TensorBytes>;
  /** @throws FormatError naming file and tensor where a value is NaN or infinite. */
  readFloat32(name: string): Promise<Float32Array>;
  /** Closes the files. */
  close(): Promise<void>;
}

/**
 * Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
 * @throws FormatError when neither is there, a file is broken, or index and shards disagree (all findings at once).
 */
export async function openCheckpoint(directory: Directory): Promise<Checkpoint> {
  const single = await directory.open(CHECKPOINT_FILE);
  if (single !== undefined) {
    const file = await openFile(single);
    return fromFiles(directory.name, [file], new Map([...file.tensors.keys()].map((tensor) => [tensor, file])));
  }
  const index = await readText(directory, CHECKPOINT_INDEX);
  if (index === undefined) throw await nothingFound(directory);
  return openShards(directory, parseWeightMap(index, `${directory.name}/${CHECKPOINT_INDEX}`));
}

/** Tensor name to file name. @throws FormatError when the index is broken or a path leaves the folder. */
export function parseWeightMap(text: string, name: string): Map<string, string> {
  const json = parseJson(text, name);
  const weightMap = isRecord(json) ? json['weight_map'] : undefined;
  if (!isRecord(weightMap))
    throw new FormatError(`${name}: weight_map: found none, allowed an object of tensor and file names`);
  const problems = duplicateKeys(text).map((key) => `key ${JSON.stringify(key)}: occurs twice, allowed once`);
  const files = new Map<string, string>();
  for (const [tensor, file] of Object.entries(weightMap)) {
    const allowed = typeof file === 'string' && file.endsWith('.safetensors') && staysInside(file);
    if (allowed) files.set(tensor, file);
    else
      problems.push(
        `weight_map.${tensor}: found ${JSON.stringify(file)}, allowed a .safetensors file inside the folder`,
      );
  }
  if (problems.length > 0) throw mismatches(name, problems);
  return files;
}

async function openShards(directory: Directory, weightMap: ReadonlyMap<string, string>): Promise<Checkpoint> {
  const shards = new Map<string, SafetensorsFile>();
  const owner = new Map<string, SafetensorsFile>();
  const problems: string[] = [];
  try {
    for (const path of new Set(weightMap.values())) {
      const source = await directory.open(path);
      if (source === undefined) problems.push(`shard ${path}: missing`);
      else shards.set(path, await openFile(source));
    }
    for (const [tensor, path] of weightMap) {
      const shard = shards.get(path);
      if (shard?.tensors.has(tensor)) owner.set(tensor, shard);
      else if (shard !== undefined)
        problems.push(`tensor ${JSON.stringify(tensor)}: not in shard ${path}, where the index puts it`);
    }
    if (problems.length > 0) throw mismatches(`${directory.name}/${CHECKPOINT_INDEX}`, problems);
  } catch (error) {
    for (const shard of shards.values()) await shard.close();
    throw error;
  }
  return fromFiles(directory.name, [...shards.values()], owner);
}

function fromFiles(
  name: string,
  files: readonly SafetensorsFile[],
  owner: ReadonlyMap<string, SafetensorsFile>,
): Checkpoint {
  const find = (tensor: string): SafetensorsFile => {
    const file = owner.get(tensor);
    if (file === undefined) throw new FormatError(`${name}: no tensor ${JSON.stringify(tensor)} in the checkpoint`);
    return file;
  };
  return {
    name,
    metadata: Object.assign({}, ...files.map((file) => file.metadata)) as Record<string, string>,
    names: () => [...owner.keys()],
    has: (tensor) => owner.has(tensor),
    info: (tensor) => {
      const info = find(tensor).tensors.get(tensor);
      if (info === undefined) throw new FormatError(`${name}: no tensor ${JSON.stringify(tensor)} in the checkpoint`);
      return { dtype: info.dtype, shape: info.shape };
    },
    read: async (tensor) => find(tensor).read(tensor),
    readFloat32: async (tensor) =>
      finiteValues(await find(tensor).readFloat32(tensor), `${find(tensor).name}: ${tensor}`),
    close: async () => {
      for (const file of files) await file.close();
    },
  };
}

async function openFile(source: ByteSource): Promise<SafetensorsFile> {
  try {
    return await SafetensorsFile.open(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function nothingFound(directory: Directory): Promise<FormatError> {
  const files = await directory.list();
  const pickled = files.find((file) => /\.(?:bin|pt|pth|ckpt)$/.test(file));
  const gguf = files.find((file) => file.endsWith('.gguf'));
  const hint =
    pickled !== undefined
      ? ` (${pickled} is a pickle, which can run code: convert it to safetensors first)`
      : gguf === undefined
        ? ''
        : ` (${gguf} is for llama.cpp: take the safetensors model that it was made from)`;
  return new FormatError(`${directory.name}: found neither ${CHECKPOINT_FILE} nor ${CHECKPOINT_INDEX}${hint}`);
}

function staysInside(path: string): boolean {
  try {
    relativePath(path, '');
    return true;
  } catch {
    return false;
  }
}
