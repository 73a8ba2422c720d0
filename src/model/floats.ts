import { openCheckpoint } from '../io/weights-file.js';
import type { Directory } from '../io/directory.js';
import type { ModelConfig } from './config.js';
import { storedForms, type StoredForm } from './stored.js';
import { resolveNames } from './tensors.js';

/**
 * Reads the weight `[out, in]` of a linear layer as floats from a model directory, for what starts from the values that
 * 4 bits do not keep. Undefined where the checkpoint itself holds 4 bits.
 */
export function floatReader(
  directory: Directory,
  config: ModelConfig,
): (module: string) => Promise<Float32Array | undefined> {
  return async (module) => {
    const name = `${module}.weight`;
    const checkpoint = await openCheckpoint(directory);
    try {
      const stored = resolveNames(config, checkpoint).get(name) as string;
      if (config.quantization !== undefined && checkpoint.has(`${stored}.absmax`)) return undefined;
      return (storedForms(config).get(name) as StoredForm).hold(await checkpoint.readFloat32(stored));
    } finally {
      await checkpoint.close();
    }
  };
}
