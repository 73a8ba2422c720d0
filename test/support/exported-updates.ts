import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { readPeftAdapter } from '../../src/adapters/peft/document.js';
import { adapterTensors } from '../../src/export/adapter-tensors.js';
import { localDirectory } from '../../src/io/node.js';
import { toFloat32 } from '../../src/io/safetensors.js';
import { readTensors } from './goldens.js';
import { TINY_CONFIG } from './tiny-model.js';

/** s·B·A `[out, in]` of each module of the tiny Llama, by its Hugging Face path. */
export type Updates = ReadonlyMap<string, Float32Array>;

/** Of the low-rank updates in a PEFT adapter directory. */
export async function loraUpdates(folder: string): Promise<Updates> {
  const { pairs } = adapterTensors(await readPeftAdapter(localDirectory(folder)));
  return new Map(
    pairs.map(({ module, a, b, rank, scale }) => [
      module,
      product(toFloat32(b, module), toFloat32(a, module), rank, scale),
    ]),
  );
}

const GGUF_NAMES: Readonly<Record<string, string>> = {
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

/**
 * Of a GGUF adapter, as an independent reader finds it: alpha of the file by the rank of the tensor, llama.cpp's rows
 * put back.
 */
export async function ggufUpdates(path: string): Promise<Updates> {
  const { metadata, tensorInfos, tensorDataOffset } = await gguf(path, { allowLocalFile: true });
  const bytes = await readFile(path);
  const alpha = Number((metadata as unknown as Readonly<Record<string, unknown>>)['adapter.lora.alpha']);
  const matrices = new Map(
    tensorInfos.map(({ name, shape, offset }) => {
      const [inner = 0, rows = 0] = shape.map(Number);
      const from = Number(tensorDataOffset) + Number(offset);
      return [
        name,
        {
          rows,
          values: new Float32Array(
            bytes.buffer.slice(bytes.byteOffset + from, bytes.byteOffset + from + inner * rows * 4),
          ),
        },
      ];
    }),
  );
  const updates = new Map<string, Float32Array>();
  for (const [name, a] of matrices) {
    const [, base, layer, part] = /^(output|blk\.(\d+)\.(\w+))\.weight\.lora_a$/.exec(name) ?? [];
    const b = matrices.get(`${base}.weight.lora_b`);
    if (base === undefined || b === undefined) continue;
    const update = product(b.values, a.values, a.rows, alpha / a.rows);
    const heads = part === 'attn_q' ? TINY_CONFIG.num_attention_heads : TINY_CONFIG.num_key_value_heads;
    const isTurned = part === 'attn_q' || part === 'attn_k';
    updates.set(
      base === 'output' ? 'lm_head' : `model.layers.${layer}.${GGUF_NAMES[part ?? '']}`,
      isTurned ? halvesOf(update, b.rows, heads) : update,
    );
  }
  return updates;
}

/** Rows that lie in pairs to be rotated, put into the two halves of each head. */
function halvesOf(values: Float32Array, rows: number, heads: number): Float32Array {
  const [inner, size] = [values.length / rows, rows / heads];
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const [head, within] = [Math.floor(row / size), row % size];
    out.set(
      values.subarray(row * inner, (row + 1) * inner),
      (head * size + (within % 2) * (size / 2) + Math.floor(within / 2)) * inner,
    );
  }
  return out;
}

/** Of the files for mlx-lm: one scale, `lora_a` `[in, rank]`, `lora_b` `[rank, out]`. */
export async function mlxUpdates(folder: string): Promise<Updates> {
  const { lora_parameters: parameters } = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8')) as {
    lora_parameters: { scale: number; rank: number };
  };
  const tensors = await readTensors(join(folder, 'adapters.safetensors'));
  const updates = new Map<string, Float32Array>();
  for (const [name, a] of tensors) {
    const module = name.replace(/\.lora_a$/, '');
    const b = tensors.get(`${module}.lora_b`);
    if (module === name || b === undefined) continue;
    const { rank, scale } = parameters;
    updates.set(module, product(turned(b.values, rank), turned(a.values, a.values.length / rank), rank, scale));
  }
  return updates;
}

/** `[rows, columns]` to `[columns, rows]`. */
function turned(values: ArrayLike<number>, rows: number): Float32Array {
  const columns = values.length / rows;
  return Float32Array.from(
    { length: values.length },
    (_, i) => values[(i % rows) * columns + Math.floor(i / rows)] as number,
  );
}

/** scale · B `[out, rank]` · A `[rank, in]`. */
function product(b: Float32Array, a: Float32Array, rank: number, scale: number): Float32Array {
  const inner = a.length / rank;
  return Float32Array.from({ length: (b.length / rank) * inner }, (_, at) => {
    const [row, column] = [Math.floor(at / inner), at % inner];
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += (b[row * rank + k] as number) * (a[k * inner + column] as number);
    return sum * scale;
  });
}
