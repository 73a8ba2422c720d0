import { changePeftAdapter, type PeftAdapter } from '../adapters/peft/document.js';
import { float32Tensor, toFloat32, type TensorBytes } from '../io/safetensors.js';
import { plainPairs, type LoraPair } from './adapter-tensors.js';

/** An update in the terms of a file that knows one rank and one scale. */
export interface UniformPair {
  readonly module: string;
  /** `[rank, in]`, zeros in the rows that the update did not have. */
  readonly a: TensorBytes;
  /** `[out, rank]`. */
  readonly b: TensorBytes;
}

/**
 * The adapter for tools that read r and lora_alpha and nothing else: one rank (the largest; smaller ones are filled up
 * with zeros) and alpha / r as scale, what differs from it multiplied into B. What needs no change keeps its bytes; a B
 * that is multiplied becomes F32, so that nothing is rounded twice.
 * @throws FormatError listing everything that is more than a plain LoRA, such as DoRA.
 */
export function portableAdapter(adapter: PeftAdapter): PeftAdapter {
  const pairs = plainPairs(adapter, 'a portable adapter');
  const rank = largestRank(pairs);
  const alpha = adapter.config?.loraAlpha ?? rank;
  const tensors = new Map<string, TensorBytes>();
  for (const { module, a, b } of uniformPairs(pairs, rank, alpha / rank)) {
    tensors.set(`base_model.model.${module}.lora_A.weight`, a);
    tensors.set(`base_model.model.${module}.lora_B.weight`, b);
  }
  const plain: Record<string, unknown> = { r: rank, use_rslora: false, rank_pattern: {}, alpha_pattern: {} };
  // An unchanged member keeps its spelling, an absent one its absence.
  const changes = Object.entries(plain).filter(([key, value]) => {
    const found = adapter.json[key];
    return found !== undefined && found !== null && JSON.stringify(found) !== JSON.stringify(value);
  });
  return changePeftAdapter(adapter, Object.fromEntries(changes), tensors);
}

export function largestRank(pairs: readonly LoraPair[]): number {
  return pairs.reduce((most, pair) => Math.max(most, pair.rank), 1);
}

/** All updates with one rank and one scale, the remaining factor in B. */
export function uniformPairs(pairs: readonly LoraPair[], rank: number, scale: number): UniformPair[] {
  return pairs.map(({ module, a, b, rank: own, inFeatures, outFeatures, scale: wanted }) => {
    const scaled = scaleTensor(b, wanted / scale, module);
    if (own === rank) return { module, a, b: scaled };
    return {
      module,
      a: padded(a, 1, own * inFeatures, rank * inFeatures, [rank, inFeatures]),
      b: padded(scaled, outFeatures, own, rank, [outFeatures, rank]),
    };
  });
}

/** The tensor times a factor; the same bytes where the factor is 1, else F32. */
export function scaleTensor(tensor: TensorBytes, factor: number, where: string): TensorBytes {
  if (Math.abs(factor - 1) < 1e-12) return tensor;
  return float32Tensor(
    tensor.shape,
    toFloat32(tensor, where).map((value) => value * factor),
  );
}

/** Rows of `from` elements, each followed by zeros up to `to`. */
function padded(
  { dtype, bytes }: TensorBytes,
  rows: number,
  from: number,
  to: number,
  shape: readonly number[],
): TensorBytes {
  const size = bytes.byteLength / (rows * from);
  const out = new Uint8Array(rows * to * size);
  for (let row = 0; row < rows; row++)
    out.set(bytes.subarray(row * from * size, (row + 1) * from * size), row * to * size);
  return { dtype, shape, bytes: out };
}
