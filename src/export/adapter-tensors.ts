import { ADAPTER_CONFIG, type PeftAdapter } from '../adapters/peft/document.js';
import {
  loraScale,
  patternValue,
  unsupportedFields,
  type LoraConfig,
  type TokenIndices,
} from '../adapters/lora/config.js';
import { endsWithModule } from '../adapters/lora/targets.js';
import { mismatches } from '../io/safetensors-header.js';
import type { TensorBytes } from '../io/safetensors.js';

/** The low-rank update of one module: ΔW = scale · B·A, whatever the layout of the base model's weight. */
export interface LoraPair {
  /** Path in the base model, such as `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  /** `[rank, in]`. */
  readonly a: TensorBytes;
  /** `[out, rank]`. */
  readonly b: TensorBytes;
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly scale: number;
}

/**
 * Rows of a table that were trained by themselves; row j of the values is row `indices[j]` of the table, or a new one
 * behind it.
 */
export interface TableRows {
  readonly indices: readonly number[];
  /** `[rows, hidden]`. */
  readonly values: TensorBytes;
}

/** The tensors of a LoRA adapter by what they do. */
export interface AdapterTensors {
  readonly pairs: readonly LoraPair[];
  /**
   * Low-rank updates of embeddings: A `[rank, vocabulary]`, B `[hidden, rank]`; the table `[vocabulary, hidden]` gets
   * (B·A)ᵀ.
   */
  readonly embeddings: readonly LoraPair[];
  /** DoRA's magnitude `[out]`, by module. */
  readonly magnitudes: ReadonlyMap<string, TensorBytes>;
  /** Tensors of the base model trained whole (`modules_to_save`), by their name in the base model. */
  readonly saved: ReadonlyMap<string, TensorBytes>;
  /** `trainable_token_indices`, by module. */
  readonly rows: ReadonlyMap<string, TableRows>;
}

const PREFIX = 'base_model.model.';
const LORA = /^(.+)\.lora_(embedding_)?([AB])(?:\.weight)?$/;
const MAGNITUDE = /^(.+)\.lora_magnitude_vector(?:\.weight)?$/;
const ROWS = /^(.+)\.token_adapter\.trainable_tokens_delta$/;
/** Lies untouched beside an adapter on an embedding or output layer, in files that PEFT wrote. */
const BASE_COPY = /\.base_layer\.(?:weight|bias)$/;
/** These start from a base whose weights they changed; A and B alone do not say by how much. */
const OTHER_BASE = /^(?:pissa|olora|corda|lora_ga)/;

/**
 * Sorts the tensors of a LoRA adapter, DoRA's and whole modules among them.
 * @throws FormatError listing every setting that means something else, and every tensor that is alone, misshapen or
 * unknown.
 */
export function adapterTensors(adapter: PeftAdapter): AdapterTensors {
  const { config } = adapter;
  const name = `${adapter.name}/${ADAPTER_CONFIG}`;
  if (config === undefined)
    throw mismatches(name, [
      `peft_type: found ${JSON.stringify(adapter.json['peft_type']) ?? 'nothing'}, allowed "LORA"`,
    ]);
  const problems = unsupportedFields(adapter.json).map((field) => `${field} is not supported`);
  if (typeof config.initLoraWeights === 'string' && OTHER_BASE.test(config.initLoraWeights)) {
    problems.push(
      `init_lora_weights: ${JSON.stringify(config.initLoraWeights)}: the adapter belongs to a base with changed weights: convert it to a plain LoRA first`,
    );
  }
  const halves = new Map<string, { a?: TensorBytes; b?: TensorBytes; embedding: boolean }>();
  const magnitudes = new Map<string, TensorBytes>();
  const saved = new Map<string, TensorBytes>();
  const rows = new Map<string, TableRows>();
  for (const [key, tensor] of adapter.tensors) {
    const path = key.startsWith(PREFIX) ? key.slice(PREFIX.length) : undefined;
    if (path !== undefined && BASE_COPY.test(path)) continue;
    const lora = path === undefined ? null : LORA.exec(path);
    const magnitude = path === undefined ? null : MAGNITUDE.exec(path);
    const table = path === undefined ? undefined : ROWS.exec(path)?.[1];
    if (lora !== null) {
      const module = lora[1] as string;
      const pair = halves.get(module) ?? { embedding: lora[2] !== undefined };
      halves.set(module, { ...pair, [lora[3] === 'A' ? 'a' : 'b']: tensor });
    } else if (magnitude !== null) {
      magnitudes.set(magnitude[1] as string, tensor);
    } else if (table !== undefined) {
      const indices = tokenIndices(config, table);
      if (indices !== undefined && indices.length === tensor.shape[0]) rows.set(table, { indices, values: tensor });
      else
        problems.push(
          `${key}: found ${tensor.shape[0]} rows, trainable_token_indices names ${indices?.length ?? 'none'}`,
        );
    } else if (path !== undefined && /^[^:]+\.(?:weight|bias)$/.test(path) && !path.includes('.lora_')) {
      saved.set(path.replace('.modules_to_save', ''), tensor);
    } else {
      problems.push(`${key}: no part of a LoRA adapter`);
    }
  }
  const pairs: LoraPair[] = [];
  const embeddings: LoraPair[] = [];
  for (const [module, { a, b, embedding }] of halves) {
    const rank = patternValue(config.rankPattern, module, config.r);
    const [rankA, inFeatures] = a?.shape ?? [];
    const [outFeatures, rankB] = b?.shape ?? [];
    if (a === undefined || b === undefined) {
      problems.push(`${module}: has lora_${a === undefined ? 'B' : 'A'} without lora_${a === undefined ? 'A' : 'B'}`);
    } else if (
      rankA !== rank ||
      rankB !== rank ||
      inFeatures === undefined ||
      outFeatures === undefined ||
      a.shape.length !== 2 ||
      b.shape.length !== 2
    ) {
      problems.push(
        `${module}: found A [${a.shape.join(', ')}] and B [${b.shape.join(', ')}], allowed [${rank}, in] and [out, ${rank}] for rank ${rank}`,
      );
    } else {
      const scale = loraScale(rank, patternValue(config.alphaPattern, module, config.loraAlpha), config.useRslora);
      (embedding ? embeddings : pairs).push({ module, a, b, rank, inFeatures, outFeatures, scale });
    }
  }
  for (const [module, { shape }] of magnitudes) {
    const out = [...pairs, ...embeddings].find((pair) => pair.module === module)?.outFeatures;
    if (out === undefined) problems.push(`${module}: a DoRA magnitude without a low-rank update`);
    else if (shape.join() !== String(out))
      problems.push(`${module}: found a magnitude [${shape.join(', ')}], allowed [${out}]`);
  }
  if (problems.length > 0) throw mismatches(adapter.name, problems);
  return { pairs, embeddings, magnitudes, saved, rows };
}

/** A list is for the one table that it is given for, an object names tables by the ends of their paths. */
function tokenIndices({ trainableTokenIndices: given }: LoraConfig, module: string): readonly number[] | undefined {
  if (given === undefined || isList(given)) return given;
  return Object.entries(given).find(([name]) => endsWithModule(module, name))?.[1];
}

function isList(indices: TokenIndices): indices is readonly number[] {
  return Array.isArray(indices);
}

/**
 * The low-rank updates of an adapter that has nothing else.
 * @param target what cannot take the rest, for the message
 * @throws FormatError listing everything that is more than a plain LoRA.
 */
export function plainPairs(adapter: PeftAdapter, target: string): readonly LoraPair[] {
  const { pairs, embeddings, magnitudes, saved, rows } = adapterTensors(adapter);
  const problems: string[] = [];
  if (adapter.config?.loftqConfig !== undefined)
    problems.push(
      `init_lora_weights: "loftq": ${target} goes on the base as it was, this one belongs to what LoftQ made of it: merge the adapter instead`,
    );
  if (adapter.json['use_dora'] === true || magnitudes.size > 0)
    problems.push(`use_dora: ${target} has no magnitudes: merge the adapter instead`);
  for (const { module } of embeddings)
    problems.push(`${module}: ${target} takes no low-rank update of an embedding: merge the adapter instead`);
  for (const name of saved.keys())
    problems.push(`${name}: ${target} takes no module trained whole (modules_to_save): merge the adapter instead`);
  for (const module of rows.keys())
    problems.push(
      `${module}: ${target} takes no rows trained by themselves (trainable_token_indices): merge the adapter instead`,
    );
  if (problems.length > 0) throw mismatches(adapter.name, problems);
  return pairs;
}
