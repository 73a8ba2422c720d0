import type { FloatDtype } from '../../kernels/types.js';
import type { Adapter } from '../adapters/adapter.js';
import { MODULE_PREFIX, trainedValues } from '../adapters/peft/tensors.js';
import { openCheckpoint } from '../io/weights-file.js';
import type { Directory } from '../io/directory.js';
import type { Fusion } from './weight-merge.js';
import { mergedFiles } from './merge.js';

/**
 * The model directory of a model that was trained whole, by name: the base's files with the trained values in the place
 * of its own.
 * @param dtype of all float tensors; undefined keeps what each is stored as in the base
 * @throws FormatError when a value is not finite, or does not fit the dtype
 */
export async function trainedModelFiles(
  base: Directory,
  adapter: Adapter,
  dtype: FloatDtype | undefined,
): Promise<Record<string, Uint8Array | string>> {
  const checkpoint = await openCheckpoint(base);
  try {
    const replacements = new Map(
      [...(await trainedValues(adapter))].map(([key, tensor]) => [key.slice(MODULE_PREFIX.length), tensor]),
    );
    const fusion: Fusion = {
      modules: new Map(),
      replacements,
      rows: new Map(),
      fuseWeight: (_module, weight) => weight,
    };
    const files: Record<string, Uint8Array | string> = {};
    for (const { path, content } of await mergedFiles(base, checkpoint, fusion, {
      dtype,
      maxShardBytes: Number.MAX_SAFE_INTEGER,
    })) {
      files[path] = typeof content === 'string' || content instanceof Uint8Array ? content : await joined(content);
    }
    return files;
  } finally {
    await checkpoint.close();
  }
}

async function joined(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const part of parts) all.push(part);
  const out = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of all) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
