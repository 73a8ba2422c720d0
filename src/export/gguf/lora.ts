import type { FloatDtype } from '../../../kernels/types.js';
import type { PeftAdapter } from '../../adapters/peft/document.js';
import { FormatError } from '../../errors.js';
import { DTYPE_BITS, mismatches } from '../../io/safetensors-header.js';
import { toFloat32, type TensorBytes } from '../../io/safetensors.js';
import { Fields } from '../../model/fields.js';
import { plainPairs, type LoraPair } from '../adapter-tensors.js';
import { encodeFloats } from '../floats.js';
import { scaleTensor } from '../portable.js';
import { ARCHITECTURES, type GgufArchitecture, type RowOrder } from './architectures.js';
import type { GgufTensor, GgufValue } from './format.js';
import { encodeGguf } from './write.js';

/** How a GGUF adapter is written. */
export interface GgufOptions {
  /** Default F32, as llama.cpp's own converter. */
  readonly dtype?: 'F32' | 'F16';
  /** general.name of the file. */
  readonly name?: string;
}

interface Heads {
  readonly query: number;
  readonly key: number;
}

/** llama.cpp's number of a file whose tensors are all of one type. */
const FILE_TYPES = { F32: 0, F16: 1 } as const;

/**
 * A LoRA adapter for llama.cpp and Ollama: `blk.N.attn_q.weight.lora_a` `[rank, in]` and `.lora_b` `[out, rank]`, rows
 * of B in the order of llama.cpp's base weights. Its scale is alpha / rank, with the rank of each tensor but one alpha:
 * alpha·√r for rsLoRA, and what a module differs by is multiplied into its B.
 * @param modelConfig config.json of the base model, parsed
 * @throws FormatError listing everything that llama.cpp cannot take: another architecture, DoRA, embeddings, whole
 * modules.
 */
export function ggufAdapter(
  adapter: PeftAdapter,
  modelConfig: Readonly<Record<string, unknown>>,
  options: GgufOptions = {},
): Uint8Array {
  const pairs = plainPairs(adapter, 'a GGUF adapter');
  const architecture = architectureOf(modelConfig);
  const heads = headsOf(modelConfig);
  const { loraAlpha, r, useRslora } = adapter.config ?? { loraAlpha: 1, r: 1, useRslora: false };
  const alpha = useRslora ? loraAlpha * Math.sqrt(r) : loraAlpha;
  const { dtype = 'F32', name = adapter.name.split(/[\\/]/).filter(Boolean).at(-1) ?? 'adapter' } = options;
  const problems: string[] = [];
  const tensors: GgufTensor[] = [];
  for (const pair of pairs) {
    const target = tensorName(pair.module, architecture, modelConfig);
    if ('problem' in target) {
      problems.push(`${pair.module}: ${target.problem}`);
      continue;
    }
    const order = target.rows === undefined ? undefined : rowOrder(target.rows, pair.outFeatures, heads);
    if (typeof order === 'string') {
      problems.push(`${pair.module}: ${order}`);
      continue;
    }
    const b = scaleTensor(
      order === undefined ? pair.b : withRows(pair, order),
      pair.scale / (alpha / pair.rank),
      pair.module,
    );
    tensors.push(stored(`${target.name}.lora_a`, pair.a, dtype), stored(`${target.name}.lora_b`, b, dtype));
  }
  if (problems.length > 0)
    throw mismatches(`${adapter.name}: cannot be a GGUF adapter of ${architecture.name}`, problems);
  const entries = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: architecture.name }],
    ['general.type', { type: 'string', value: 'adapter' }],
    ['general.name', { type: 'string', value: name }],
    ['general.file_type', { type: 'uint32', value: FILE_TYPES[dtype] }],
    ['adapter.type', { type: 'string', value: 'lora' }],
    ['adapter.lora.alpha', { type: 'float32', value: alpha }],
  ]);
  return encodeGguf(entries, tensors);
}

function architectureOf(config: Readonly<Record<string, unknown>>): GgufArchitecture {
  const type = config['model_type'];
  const found = typeof type === 'string' && Object.hasOwn(ARCHITECTURES, type) ? ARCHITECTURES[type] : undefined;
  if (found !== undefined) return found;
  const allowed = Object.keys(ARCHITECTURES).join(', ');
  throw new FormatError(
    `config.json: model_type: found ${JSON.stringify(type) ?? 'nothing'}, a GGUF adapter can be made for ${allowed}`,
  );
}

function headsOf(config: Readonly<Record<string, unknown>>): Heads {
  const fields = new Fields(config, 'config.json');
  const query = fields.size(config['n_head'] === undefined ? 'num_attention_heads' : 'n_head');
  const key = fields.size('num_key_value_heads', query);
  fields.finish();
  return { query, key };
}

function tensorName(
  module: string,
  architecture: GgufArchitecture,
  config: Readonly<Record<string, unknown>>,
): { readonly name: string; readonly rows?: RowOrder | undefined } | { readonly problem: string } {
  if (module === architecture.head || module === architecture.storedHead) {
    const tied = config['tie_word_embeddings'] ?? architecture.tiedByDefault;
    return tied === false
      ? { name: 'output.weight' }
      : { problem: 'the output layer is the embedding, which llama.cpp cannot adapt' };
  }
  const rest = module.startsWith(architecture.layers) ? module.slice(architecture.layers.length) : '';
  const [, layer, path = ''] = /^(\d+)\.(.+)$/.exec(rest) ?? [];
  const name = Object.hasOwn(architecture.linears, path) ? architecture.linears[path] : undefined;
  if (layer === undefined || name === undefined) {
    return {
      problem: `no tensor of ${architecture.name} is made from it; known are ${architecture.layers}N. with ${Object.keys(architecture.linears).join(', ')}`,
    };
  }
  return { name: `blk.${layer}.${name}.weight`, rows: architecture.rows[path] };
}

/** For each row of llama.cpp's weight the row of Hugging Face's that it is; a sentence when the rows do not divide. */
export function rowOrder(kind: RowOrder, rows: number, heads: Heads): Uint32Array | string {
  const count = kind === 'key-pairs' ? heads.key : heads.query;
  const parts = kind === 'heads-to-qkv' ? 3 : 2;
  const size = rows / (count * parts);
  if (!Number.isInteger(size)) return `found ${rows} rows, allowed a multiple of ${parts} for each of ${count} heads`;
  const order = new Uint32Array(rows);
  let row = 0;
  if (kind === 'heads-to-qkv') {
    for (let part = 0; part < parts; part++) {
      for (let head = 0; head < count; head++)
        for (let i = 0; i < size; i++) order[row++] = (head * parts + part) * size + i;
    }
    return order;
  }
  for (let head = 0; head < count; head++) {
    for (let i = 0; i < size; i++)
      for (let part = 0; part < parts; part++) order[row++] = (head * parts + part) * size + i;
  }
  return order;
}

function withRows({ b, rank }: LoraPair, order: Uint32Array): TensorBytes {
  const size = (rank * DTYPE_BITS[b.dtype]) / 8;
  const bytes = new Uint8Array(b.bytes.byteLength);
  order.forEach((from, to) => {
    bytes.set(b.bytes.subarray(from * size, (from + 1) * size), to * size);
  });
  return { ...b, bytes };
}

function stored(name: string, tensor: TensorBytes, dtype: FloatDtype): GgufTensor {
  const bytes = tensor.dtype === dtype ? tensor.bytes : encodeFloats(toFloat32(tensor, name), dtype, name);
  return { name, dtype, shape: tensor.shape, bytes };
}
