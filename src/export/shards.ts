import { CHECKPOINT_FILE, CHECKPOINT_INDEX } from '../io/weights-file.js';
import { safetensorsLayout, type TensorShape } from '../io/safetensors.js';
import type { OutputFile } from './output.js';

/** A tensor that is made when its turn comes. */
export interface PlannedTensor extends TensorShape {
  readonly name: string;
  bytes(): Promise<Uint8Array>;
}

/** Tensors that stand or fall together, such as the parts of a 4-bit weight. */
export interface TensorGroup {
  readonly names: readonly string[];
  /** Bytes of all of them, for the limit of a shard; may be a few hundred off. */
  readonly size: number;
  /** Called once, before the header of the shard is written; what it keeps in memory stays until the shard is done. */
  prepare(): Promise<readonly PlannedTensor[]>;
}

/** Largest shard by default: 5 GB, what transformers 4 wrote. */
export const DEFAULT_SHARD_BYTES = 5e9;

/**
 * A checkpoint in files of at most `maxBytes` (a group that is larger has one of its own), cut in the order of the
 * groups, as transformers names and indexes them: one `model.safetensors`, or `model-00001-of-0000N.safetensors` and
 * their index. Only one tensor at a time is in memory, and what groups keep.
 */
export function checkpointFiles(groups: readonly TensorGroup[], maxBytes: number): OutputFile[] {
  const shards: TensorGroup[][] = [];
  let size = Infinity;
  for (const group of groups) {
    if (size + group.size > maxBytes) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)?.push(group);
    size += group.size;
  }
  const nameOf = (index: number): string => {
    const digits = (n: number): string => String(n).padStart(5, '0');
    return shards.length === 1 ? CHECKPOINT_FILE : `model-${digits(index + 1)}-of-${digits(shards.length)}.safetensors`;
  };
  let written = 0;
  const count = (bytes: number): void => {
    written += bytes;
  };
  const files: OutputFile[] = shards.map((shard, i) => ({
    path: nameOf(i),
    content: writeShard(shard, count),
    bytes: shard.reduce((sum, group) => sum + group.size, 0),
  }));
  if (shards.length === 1) return files;
  const weightMap = shards.flatMap((shard, i) =>
    shard.flatMap((group) => group.names.map((name) => [name, nameOf(i)] as const)),
  );
  weightMap.sort(([a], [b]) => (a < b ? -1 : 1));
  const index = async function* (): AsyncGenerator<Uint8Array> {
    // The sum is known when all shards are written, and the index is last.
    const json = { metadata: { total_size: written }, weight_map: Object.fromEntries(weightMap) };
    yield Promise.resolve(new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`));
  };
  return [...files, { path: CHECKPOINT_INDEX, content: index() }];
}

async function* writeShard(groups: readonly TensorGroup[], count: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  const tensors = new Map<string, PlannedTensor>();
  for (const group of groups) for (const tensor of await group.prepare()) tensors.set(tensor.name, tensor);
  const { header, order } = safetensorsLayout(tensors, { format: 'pt' });
  yield header;
  for (const name of order) {
    const bytes = await (tensors.get(name) as PlannedTensor).bytes();
    count(bytes.byteLength);
    yield bytes;
  }
}
