import { ConfigError } from '../../errors.js';
import { float32Tensor, toFloat32, type TensorBytes } from '../../io/safetensors.js';
import { loraKey } from './tensor-shapes.js';
import { loraScale, patternValue, type LoraConfig } from './config.js';
import type { AdapterFiles } from '../peft/files.js';
import { truncatedSvd } from '../../linalg/truncated-svd.js';

/** Names as in PEFT's `add_weighted_adapter`. */
export type CombinationType = 'linear' | 'cat' | 'svd';

export interface WeightedAdapter {
  readonly name: string;
  readonly files: AdapterFiles;
  readonly weight: number;
}

export interface CombineOptions {
  readonly type: CombinationType;
  /** Rank of the result of `svd`; the highest of the adapters' unless given. */
  readonly rank?: number | undefined;
}

/** The update of a module by one adapter: factor·B·A, the factor its weight times its scale, A `[r, in]`, B `[out, r]`. */
interface WeightedUpdate {
  readonly factor: number;
  readonly rank: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
}

interface Module {
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly updates: readonly WeightedUpdate[];
}

/**
 * One LoRA adapter out of several. With ΔWᵢ = sᵢ·Bᵢ·Aᵢ and weights wᵢ:
 * `cat` is Σ wᵢ·ΔWᵢ exactly, of rank Σ rᵢ; `svd` is the best approximation of that sum at a given rank; `linear` adds
 * up the factors, A = Σ √|wᵢsᵢ|·Aᵢ and B = Σ ±√|wᵢsᵢ|·Bᵢ, which keeps the rank, needs equal ranks, and is not the sum
 * of the updates. The result's scale is 1 (lora_alpha = r).
 * @throws ConfigError for adapters that are no plain LoRA, or ranks that differ where they must not.
 */
export function combineAdapters(adapters: readonly WeightedAdapter[], options: CombineOptions): AdapterFiles {
  if (adapters.length === 0) throw new ConfigError('no adapters to combine');
  for (const { name, files } of adapters) requirePlain(name, files);
  const modules = collect(adapters);
  const tensors = new Map<string, TensorBytes>();
  const ranks = new Map<string, number>();
  for (const [name, module] of modules) {
    const { a, b, rank } = combineModule(name, module, options);
    ranks.set(name, rank);
    tensors.set(loraKey(name, 'A'), float32Tensor([rank, module.inFeatures], a));
    tensors.set(loraKey(name, 'B'), float32Tensor([module.outFeatures, rank], b));
  }
  const [first] = adapters as [WeightedAdapter];
  return { config: combinedConfig(first.files.config as LoraConfig, ranks), tensors, metadata: { format: 'pt' } };
}

function requirePlain(name: string, { config }: AdapterFiles): void {
  const plain =
    config.peftType === 'LORA' &&
    config.useDora !== true &&
    config.modulesToSave === undefined &&
    config.trainableTokenIndices === undefined &&
    config.initLoraWeights !== 'loftq';
  if (!plain)
    throw new ConfigError(
      `${name}: only plain LoRA adapters can be combined (no DoRA, no trained copies of modules or tokens, no base of its own)`,
    );
}

function collect(adapters: readonly WeightedAdapter[]): Map<string, Module> {
  const found = new Map<string, { inFeatures: number; outFeatures: number; updates: WeightedUpdate[] }>();
  const problems: string[] = [];
  for (const { name, files, weight } of adapters) {
    const config = files.config as LoraConfig;
    for (const [key, tensor] of files.tensors) {
      const module = /^base_model\.model\.(.+)\.lora_A\.weight$/.exec(key)?.[1];
      if (module === undefined) continue;
      const b = files.tensors.get(loraKey(module, 'B'));
      if (b === undefined) continue;
      const [rank = 0, inFeatures = 0] = tensor.shape;
      const [outFeatures = 0] = b.shape;
      const held = found.get(module) ?? { inFeatures, outFeatures, updates: [] };
      if (held.inFeatures !== inFeatures || held.outFeatures !== outFeatures)
        problems.push(
          `${name}: ${module} is [${outFeatures}, ${inFeatures}], in another adapter [${held.outFeatures}, ${held.inFeatures}]`,
        );
      const scale = loraScale(rank, patternValue(config.alphaPattern, module, config.loraAlpha), config.useRslora);
      held.updates.push({ factor: weight * scale, rank, a: toFloat32(tensor, key), b: toFloat32(b, key) });
      found.set(module, held);
    }
    const other = [...files.tensors.keys()].filter((key) => !/\.lora_[AB]\.weight$/.test(key));
    if (other.length > 0) problems.push(`${name}: cannot combine ${other.join(', ')}`);
  }
  if (problems.length > 0) throw new ConfigError(`these adapters cannot be combined: ${problems.join('; ')}`);
  return found;
}

function combineModule(
  name: string,
  module: Module,
  { type, rank }: CombineOptions,
): { a: Float32Array; b: Float32Array; rank: number } {
  const { updates } = module;
  if (type === 'linear') {
    const [first] = updates as [WeightedUpdate];
    if (updates.some((update) => update.rank !== first.rank)) {
      throw new ConfigError(
        `${name}: ranks ${updates.map((update) => update.rank).join(', ')}: linear needs equal ones; cat and svd do not`,
      );
    }
    const a = new Float32Array(first.a.length);
    const b = new Float32Array(first.b.length);
    for (const update of updates) {
      const root = Math.sqrt(Math.abs(update.factor));
      update.a.forEach((value, i) => (a[i] = (a[i] as number) + root * value));
      update.b.forEach((value, i) => (b[i] = (b[i] as number) + Math.sign(update.factor) * root * value));
    }
    return { a, b, rank: first.rank };
  }
  const stacked = concatenate(module);
  if (type === 'cat') return stacked;
  const wanted = Math.min(
    rank ?? Math.max(...updates.map((update) => update.rank)),
    module.inFeatures,
    module.outFeatures,
  );
  return truncate(stacked, module, wanted);
}

/** [B₁|B₂|…]·[f₁A₁; f₂A₂; …] = Σ fᵢ·Bᵢ·Aᵢ. */
function concatenate({ inFeatures, outFeatures, updates }: Module): { a: Float32Array; b: Float32Array; rank: number } {
  const rank = updates.reduce((sum, update) => sum + update.rank, 0);
  const a = new Float32Array(rank * inFeatures);
  const b = new Float32Array(outFeatures * rank);
  let offset = 0;
  for (const update of updates) {
    update.a.forEach((value, i) => (a[offset * inFeatures + i] = update.factor * value));
    for (let row = 0; row < outFeatures; row++)
      b.set(update.b.subarray(row * update.rank, (row + 1) * update.rank), row * rank + offset);
    offset += update.rank;
  }
  return { a, b, rank };
}

/** The best approximation of B·A at a lower rank: (U·S)·Vᵀ of its singular value decomposition. */
function truncate(
  { a, b, rank }: { a: Float32Array; b: Float32Array; rank: number },
  { inFeatures, outFeatures }: Module,
  wanted: number,
): { a: Float32Array; b: Float32Array; rank: number } {
  const delta = new Float32Array(outFeatures * inFeatures);
  for (let row = 0; row < outFeatures; row++) {
    for (let k = 0; k < rank; k++) {
      const factor = b[row * rank + k] as number;
      if (factor === 0) continue;
      for (let column = 0; column < inFeatures; column++)
        delta[row * inFeatures + column] =
          (delta[row * inFeatures + column] as number) + factor * (a[k * inFeatures + column] as number);
    }
  }
  const { u, s, vt } = truncatedSvd(delta, outFeatures, inFeatures, wanted);
  const scaled = Float32Array.from(
    { length: outFeatures * wanted },
    (_, i) => (u[i] as number) * (s[i % wanted] as number),
  );
  return { a: Float32Array.from(vt), b: scaled, rank: wanted };
}

/** Scale 1 everywhere; modules of another rank than the most common have it in the patterns. */
function combinedConfig(first: LoraConfig, ranks: ReadonlyMap<string, number>): LoraConfig {
  const counts = new Map<number, number>();
  for (const rank of ranks.values()) counts.set(rank, (counts.get(rank) ?? 0) + 1);
  const [r] = [...counts].sort((x, y) => y[1] - x[1] || x[0] - y[0])[0] as [number, number];
  const others = Object.fromEntries(
    [...ranks].filter(([, rank]) => rank !== r).map(([module, rank]) => [module.replaceAll('.', '\\.'), rank]),
  );
  const { fanInFanOut, baseModel, revision } = first;
  return {
    ...{
      peftType: 'LORA',
      r,
      loraAlpha: r,
      loraDropout: 0,
      useRslora: false,
      initLoraWeights: true,
      baseModel,
      revision,
    },
    ...(fanInFanOut === undefined ? {} : { fanInFanOut }),
    // A list of whole paths names just these modules, whatever the adapters' own lists and expressions were.
    targetModules: [...ranks.keys()],
    rankPattern: others,
    alphaPattern: others,
  };
}
