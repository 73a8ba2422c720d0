import { uploadDense, uploadQuantized, type FrozenWeight } from '../../kernels/index.js';
import { hostValues } from '../../src/adapters/lora/base-values.js';
import { FormatError } from '../../src/errors.js';
import type { Decoder } from '../../src/model/decoder.js';
import { FrozenLinear } from '../../src/model/linear.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import type { Fusion } from '../../src/export/weight-merge.js';

export interface MergeIntoOptions {
  /**
   * Weights that are held in 4 bits stay so: the sum is quantised again, which changes it. Default: they become floats.
   */
  readonly requantize?: boolean;
}

/** What was merged. Take it back before the decoder is disposed. */
export interface MergedDecoder {
  readonly modules: readonly string[];
  /** Puts the base's own weights back, exactly, and releases the merged ones. */
  unmerge(): void;
}

/**
 * Merges an adapter into the weights of a decoder on its device: forward passes then cost what the base's do. The
 * base's weights are kept beside, so that `unmerge` is exact. The decoder must not carry the adapter itself.
 * @throws FormatError for an adapter that changes more than linear layers, or layers that the decoder does not have in
 * this shape
 */
export async function mergeInto(
  decoder: Decoder,
  fusion: Fusion,
  options: MergeIntoOptions = {},
): Promise<MergedDecoder> {
  checkFits(decoder, fusion);
  const merged: { readonly base: FrozenLinear; readonly layer: FrozenLinear }[] = [];
  const unmerge = (): void => {
    for (const { base, layer } of merged) {
      decoder.linears.set(base.name, base);
      // The bias is the base's own.
      new FrozenLinear(layer.name, layer.weight, undefined).dispose();
    }
    merged.length = 0;
  };
  try {
    for (const name of fusion.modules.keys()) {
      const base = decoder.linears.get(name) as FrozenLinear;
      const values = fusion.fuseWeight(name, await baseValues(decoder, base, fusion));
      const layer = new FrozenLinear(name, uploadAs(values, base.weight, options.requantize === true), base.bias);
      merged.push({ base, layer });
      decoder.linears.set(name, layer);
    }
  } catch (error) {
    unmerge();
    throw error;
  }
  return { modules: [...fusion.modules.keys()], unmerge };
}

/** The weight as the adapter's base had it. */
async function baseValues(
  decoder: Decoder,
  { name, weight }: FrozenLinear,
  { needsFloats }: Fusion,
): Promise<Float32Array> {
  if (needsFloats === undefined || weight.kind === 'dense') return hostValues(weight);
  const floats = await decoder.readFloats?.(name);
  if (floats === undefined) throw new FormatError(`the adapter cannot be merged: ${name}: ${needsFloats}`);
  return floats;
}

function uploadAs(values: Float32Array, base: FrozenWeight, requantize: boolean): FrozenWeight {
  const { shape } = base;
  if (base.kind === 'dense' || !requantize) return uploadDense(values, shape);
  const { quantType, blockSize, dtype, absmax } = base;
  return uploadQuantized(
    quantize4bit(values, shape, { quantType, blockSize, dtype, doubleQuant: absmax.kind === 'nested' }),
  );
}

function checkFits(decoder: Decoder, fusion: Fusion): void {
  const problems = [...fusion.replacements.keys(), ...fusion.rows.keys()].map(
    (name) => `${name}: only linear layers are merged on a device; export the merged model instead`,
  );
  for (const [name, shape] of fusion.modules) {
    const layer = decoder.linears.get(name);
    if (layer === undefined) problems.push(`${name}: the model has no such linear layer`);
    else if (!(layer instanceof FrozenLinear)) problems.push(`${name}: carries an adapter: detach it first`);
    else if (layer.weight.shape.join() !== shape.join())
      problems.push(
        `${name}: the adapter is made for [${shape.join(', ')}], the model has [${layer.weight.shape.join(', ')}]`,
      );
  }
  if (problems.length > 0) throw new FormatError(`the adapter cannot be merged: ${problems.join('; ')}`);
}
