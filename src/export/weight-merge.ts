import { loftqBase } from '../adapters/lora/init/loftq.js';
import type { PeftAdapter } from '../adapters/peft/document.js';
import { toFloat32, type TensorBytes } from '../io/safetensors.js';
import { transposed } from '../model/stored.js';
import { dequantize4bit } from '../quant/quantize.js';
import { adapterTensors, type LoraPair, type TableRows } from './adapter-tensors.js';

/** What an adapter makes of the weights of its base model. A method that can be merged gives one of these. */
export interface Fusion {
  /** The modules whose weights change, with the shape `[out, in]` that the adapter was made for. */
  readonly modules: ReadonlyMap<string, readonly [out: number, inner: number]>;
  /**
   * The new weight of a module, float32 `[out, in]` row-major; the given one is changed in place and returned.
   * Embeddings are `[vocabulary, hidden]`.
   */
  fuseWeight(module: string, weight: Float32Array): Float32Array;
  /** Tensors that take the place of the base model's, by name. */
  readonly replacements: ReadonlyMap<string, TensorBytes>;
  /** Rows of tables that take the place of the base's, by module. */
  readonly rows: ReadonlyMap<string, TableRows>;
  /**
   * In a tied model an embedding that is updated or replaced is no longer the output layer, which keeps the base's
   * table.
   */
  readonly embeddingAlone?: true;
  /** Why the weights of `modules` must be the base's own floats, not decoded from 4 bits; absent where any will do. */
  readonly needsFloats?: string;
}

/**
 * What any adapter makes of its base model.
 * @throws FormatError when it is no change of weights (a trained prompt, bottlenecks), listing everything that stands
 * against it.
 */
export function fusionOf(adapter: PeftAdapter): Fusion {
  if (adapter.json['peft_type'] !== 'LAYERS') return loraFusion(adapter);
  const replacements = new Map(
    [...adapter.tensors].map(([key, tensor]) => [key.replace(/^base_model\.model\./, ''), tensor]),
  );
  return { modules: new Map(), replacements, rows: new Map(), fuseWeight: (_module, weight) => weight };
}

/**
 * LoRA and rsLoRA: W + s·B·A; DoRA: m ∘ (W + s·B·A) / ‖W + s·B·A‖, norms by output row (Liu et al. 2024,
 * arXiv:2402.09353); embeddings: W + s·(B·A)ᵀ, norms by feature. With LoftQ W is the base that it made of the weight,
 * in 4 bits, decoded. Sums over the rank in float64, everything else in float32.
 * @throws FormatError listing everything in the adapter that cannot be merged.
 */
export function loraFusion(adapter: PeftAdapter): Fusion {
  const { pairs, embeddings, magnitudes, saved, rows } = adapterTensors(adapter);
  const linears = new Map(pairs.map((pair) => [pair.module, pair]));
  const tables = new Map(embeddings.map((pair) => [pair.module, pair]));
  const modules = new Map<string, readonly [number, number]>();
  for (const pair of pairs) modules.set(pair.module, [pair.outFeatures, pair.inFeatures]);
  for (const pair of embeddings) modules.set(pair.module, [pair.inFeatures, pair.outFeatures]);
  const loftq = adapter.config?.loftqConfig;
  return {
    ...(loftq === undefined
      ? {}
      : { needsFloats: 'LoftQ made its base of the float weights: name the model that has them' }),
    modules,
    embeddingAlone: true,
    replacements: saved,
    rows,
    fuseWeight(module, weight) {
      const table = tables.get(module);
      if (table !== undefined) {
        addProduct(weight, turned(table.a, module), turned(table.b, module), table);
        const magnitude = magnitudes.get(module);
        return magnitude === undefined ? weight : rescaleColumns(weight, toFloat32(magnitude, module));
      }
      const pair = linears.get(module);
      if (pair === undefined) throw new Error(`${module}: the adapter does not change it`);
      if (loftq !== undefined)
        weight.set(
          dequantize4bit(
            loftqBase(weight, [pair.outFeatures, pair.inFeatures], pair.rank, pair.scale, loftq.loftq_iter),
          ),
        );
      addProduct(weight, toFloat32(pair.b, module), toFloat32(pair.a, module), pair);
      const magnitude = magnitudes.get(module);
      return magnitude === undefined ? weight : rescaleRows(weight, toFloat32(magnitude, module));
    },
  };
}

/** weight `[m, n]` += scale · left `[m, rank]` · right `[rank, n]`. */
function addProduct(
  weight: Float32Array,
  left: Float32Array,
  right: Float32Array,
  { rank, scale }: LoraPair,
): Float32Array {
  const columns = right.length / rank;
  const sums = new Float64Array(columns);
  for (let row = 0, at = 0; row < left.length / rank; row++, at += columns) {
    sums.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = left[row * rank + k] as number;
      const from = k * columns;
      for (let i = 0; i < columns; i++) sums[i] = (sums[i] as number) + factor * (right[from + i] as number);
    }
    for (let i = 0; i < columns; i++)
      weight[at + i] = (weight[at + i] as number) + Math.fround(Math.fround(sums[i] as number) * scale);
  }
  return weight;
}

function rescaleRows(weight: Float32Array, magnitude: Float32Array): Float32Array {
  const columns = weight.length / magnitude.length;
  for (let row = 0; row < magnitude.length; row++) {
    const values = weight.subarray(row * columns, (row + 1) * columns);
    const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
    const factor = Math.fround((magnitude[row] as number) / Math.fround(norm));
    for (let i = 0; i < columns; i++) values[i] = (values[i] as number) * factor;
  }
  return weight;
}

/** DoRA of a table: its norms are those of its columns, the features. */
function rescaleColumns(weight: Float32Array, magnitude: Float32Array): Float32Array {
  const columns = magnitude.length;
  const squares = new Float64Array(columns);
  weight.forEach((value, i) => (squares[i % columns] = (squares[i % columns] as number) + value * value));
  const factors = magnitude.map((m, i) => m / Math.fround(Math.sqrt(squares[i] as number)));
  for (let i = 0; i < weight.length; i++) weight[i] = (weight[i] as number) * (factors[i % columns] as number);
  return weight;
}

function turned(tensor: TensorBytes, where: string): Float32Array {
  const [rows = 0, columns = 0] = tensor.shape;
  return transposed(toFloat32(tensor, where), rows, columns);
}
