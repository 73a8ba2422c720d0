import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { describe, expect, it } from 'vitest';
import { readPeftAdapter, type PeftAdapter } from '../../../src/adapters/peft/document.js';
import { adapterTensors } from '../../../src/export/adapter-tensors.js';
import { ggufAdapter, rowOrder } from '../../../src/export/gguf/lora.js';
import { GgufFile } from '../../../src/export/gguf/read.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { localDirectory } from '../../../src/io/node.js';
import { encodeSafetensors, float32Tensor, toFloat32, type TensorBytes } from '../../../src/io/safetensors.js';
import { memorySource } from '../../../src/io/source.js';
import { Random } from '../../../src/random.js';
import { normals } from '../../support/numeric.js';
import { describeReferences, referencePath } from '../../support/references.js';

const random = new Random(3, 'gguf');

function pair(module: string, out: number, inner: number, rank: number): Record<string, TensorBytes> {
  return {
    [`base_model.model.${module}.lora_A.weight`]: float32Tensor([rank, inner], normals(random, rank * inner, 1)),
    [`base_model.model.${module}.lora_B.weight`]: float32Tensor([out, rank], normals(random, out * rank, 1)),
  };
}

function adapter(tensors: Record<string, TensorBytes>, fields: Record<string, unknown> = {}): Promise<PeftAdapter> {
  const config = JSON.stringify({ peft_type: 'LORA', r: 2, lora_alpha: 6, target_modules: ['q_proj'], ...fields });
  return readPeftAdapter(
    memoryDirectory('some/adapter', {
      'adapter_config.json': config,
      'adapter_model.safetensors': encodeSafetensors(tensors),
    }),
  );
}

async function float(file: GgufFile, name: string): Promise<Float32Array> {
  return toFloat32(await file.read(name), name);
}

/** scale · B · A of a GGUF adapter, as llama.cpp has it: alpha of the file by the rank of the tensor. */
async function update(file: GgufFile, name: string): Promise<Float32Array> {
  const [a, b] = [await float(file, `${name}.lora_a`), await float(file, `${name}.lora_b`)];
  const rank = file.tensors.get(`${name}.lora_a`)?.shape[0] as number;
  const alpha = file.entries.get('adapter.lora.alpha')?.value as number;
  return product(b, a, rank, alpha / rank);
}

function product(b: Float32Array, a: Float32Array, rank: number, scale: number): Float32Array {
  const inner = a.length / rank;
  return Float32Array.from({ length: (b.length / rank) * inner }, (_, at) => {
    const [row, column] = [Math.floor(at / inner), at % inner];
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += (b[row * rank + k] as number) * (a[k * inner + column] as number);
    return sum * scale;
  });
}

const open = (bytes: Uint8Array): Promise<GgufFile> => GgufFile.open(memorySource('x.gguf', bytes));
const LLAMA = { model_type: 'llama', num_attention_heads: 4, num_key_value_heads: 2 };

function expectClose(actual: Float32Array, expected: Float32Array): void {
  expect(actual.length).toBe(expected.length);
  const error = expected.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (actual[i] as number))), 0);
  expect(error).toBeLessThan(1e-5);
}

describe('ggufAdapter', () => {
  it('writes what an independent reader understands', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'gguf-')), 'adapter.gguf');
    const source = await adapter({
      ...pair('model.layers.1.self_attn.v_proj', 8, 16, 2),
      ...pair('model.layers.0.mlp.down_proj', 16, 12, 2),
    });
    writeFileSync(path, ggufAdapter(source, LLAMA));
    const { metadata, tensorInfos } = await gguf(path, { allowLocalFile: true });
    expect(metadata).toMatchObject({
      version: 3,
      'general.architecture': 'llama',
      'general.type': 'adapter',
      'general.name': 'adapter',
      'adapter.type': 'lora',
      'adapter.lora.alpha': 6,
    });
    const shapes = Object.fromEntries(
      tensorInfos.map(({ name, shape, dtype }) => [name, [dtype, ...shape.map(Number)]]),
    );
    expect(shapes).toEqual({
      'blk.1.attn_v.weight.lora_a': [0, 16, 2],
      'blk.1.attn_v.weight.lora_b': [0, 2, 8],
      'blk.0.ffn_down.weight.lora_a': [0, 12, 2],
      'blk.0.ffn_down.weight.lora_b': [0, 2, 16],
    });
  });

  it('has the scale of every module in alpha, the ranks and B', async () => {
    const modules = ['model.layers.0.mlp.up_proj', 'model.layers.0.mlp.gate_proj'] as const;
    const tensors = { ...pair(modules[0], 4, 6, 2), ...pair(modules[1], 4, 6, 4) };
    for (const use_rslora of [false, true]) {
      const source = await adapter(tensors, {
        use_rslora,
        rank_pattern: { gate_proj: 4 },
        alpha_pattern: { gate_proj: 3 },
      });
      const file = await open(ggufAdapter(source, LLAMA));
      const [up, gate] = use_rslora ? [6 / Math.SQRT2, 3 / 2] : [6 / 2, 3 / 4];
      const expected = (module: string, rank: number, scale: number): Float32Array =>
        product(
          toFloat32(tensors[`base_model.model.${module}.lora_B.weight`] as TensorBytes, ''),
          toFloat32(tensors[`base_model.model.${module}.lora_A.weight`] as TensorBytes, ''),
          rank,
          scale,
        );
      expectClose(await update(file, 'blk.0.ffn_up.weight'), expected(modules[0], 2, up));
      expectClose(await update(file, 'blk.0.ffn_gate.weight'), expected(modules[1], 4, gate));
    }
  });

  it.each([
    ['q_proj', 'attn_q', 4, 'llama'],
    ['k_proj', 'attn_k', 2, 'mistral'],
  ])(
    'gives %s the rows of llama.cpp’s base weight: its rotation of neighbours then equals that of halves',
    async (linear, name, heads, type) => {
      const [dim, inner, rank] = [6, 5, 2];
      const module = `model.layers.0.self_attn.${linear}`;
      const source = await adapter(pair(module, heads * dim, inner, rank));
      const file = await open(ggufAdapter(source, { ...LLAMA, model_type: type }));
      const { pairs } = adapterTensors(source);
      const [{ a, b, scale }] = pairs as [(typeof pairs)[number]];
      const original = product(toFloat32(b, ''), toFloat32(a, ''), rank, scale);
      const converted = await update(file, `blk.0.${name}.weight`);

      const x = normals(random, inner, 1);
      const apply = (weight: Float32Array): number[] =>
        Array.from({ length: heads * dim }, (_, row) =>
          x.reduce((sum, value, i) => sum + value * (weight[row * inner + i] as number), 0),
        );
      const angle = (pairIndex: number): number => 0.7 * 0.3 ** pairIndex;
      const rotate = (p: number, q: number, theta: number): [number, number] => [
        p * Math.cos(theta) - q * Math.sin(theta),
        p * Math.sin(theta) + q * Math.cos(theta),
      ];
      const halves = apply(original);
      const neighbours = apply(converted);
      for (let head = 0; head < heads; head++) {
        for (let i = 0; i < dim / 2; i++) {
          const at = head * dim;
          const expected = rotate(halves[at + i] as number, halves[at + i + dim / 2] as number, angle(i));
          const actual = rotate(neighbours[at + 2 * i] as number, neighbours[at + 2 * i + 1] as number, angle(i));
          expect(actual[0]).toBeCloseTo(expected[0], 5);
          expect(actual[1]).toBeCloseTo(expected[1], 5);
        }
      }
    },
  );

  it('orders rows as reshape and swapaxes of llama.cpp’s converters do', () => {
    const heads = { query: 2, key: 1 };
    expect([...rowOrder('query-pairs', 8, heads)]).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    expect([...rowOrder('key-pairs', 8, heads)]).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
    // Per head q, k, v of 2 rows; all of q, then k, then v.
    expect([...rowOrder('heads-to-qkv', 12, heads)]).toEqual([0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
    expect(rowOrder('query-pairs', 6, heads)).toBe('found 6 rows, allowed a multiple of 2 for each of 2 heads');
  });

  it('stores halves on request, and keeps the bytes of a tensor that is in that form', async () => {
    const half: TensorBytes = { dtype: 'F16', shape: [2, 1], bytes: Uint8Array.of(1, 60, 2, 60) };
    const key = 'base_model.model.model.layers.0.mlp.up_proj';
    const source = await adapter({
      [`${key}.lora_A.weight`]: half,
      [`${key}.lora_B.weight`]: { ...half, shape: [1, 2] },
    });
    expect(
      (await (await open(ggufAdapter(source, LLAMA, { dtype: 'F16' }))).read('blk.0.ffn_up.weight.lora_a')).bytes,
    ).toEqual(half.bytes);
    expect((await (await open(ggufAdapter(source, LLAMA))).read('blk.0.ffn_up.weight.lora_a')).dtype).toBe('F32');
  });

  it('refuses what llama.cpp cannot take, all of it at once', async () => {
    const head = pair('lm_head', 8, 4, 2);
    const source = await adapter({
      ...head,
      ...pair('model.layers.0.self_attn.q_proj', 6, 4, 2),
      ...pair('model.layers.0.experts.0', 4, 4, 2),
    });
    const convert = (): Uint8Array => ggufAdapter(source, { ...LLAMA, tie_word_embeddings: true });
    expect(convert).toThrow('lm_head: the output layer is the embedding, which llama.cpp cannot adapt');
    expect(convert).toThrow('q_proj: found 6 rows, allowed a multiple of 2 for each of 4 heads');
    expect(convert).toThrow(
      'experts.0: no tensor of llama is made from it; known are model.layers.N. with self_attn.q_proj',
    );
    expect(() => ggufAdapter(source, { model_type: 'opt' })).toThrow(
      'model_type: found "opt", a GGUF adapter can be made for llama, mistral',
    );
    expect([...(await open(ggufAdapter(await adapter(head), LLAMA))).tensors.keys()]).toEqual([
      'output.weight.lora_a',
      'output.weight.lora_b',
    ]);

    const vector = float32Tensor([8], new Float32Array(8));
    const more = {
      ...head,
      'base_model.model.lm_head.lora_magnitude_vector': vector,
      'base_model.model.model.norm.weight': vector,
    };
    const rich = await adapter(
      {
        ...more,
        'base_model.model.e.lora_embedding_A': float32Tensor([2, 1], new Float32Array(2)),
        'base_model.model.e.lora_embedding_B': float32Tensor([1, 2], new Float32Array(2)),
      },
      { use_dora: true },
    );
    for (const message of [
      'use_dora: a GGUF adapter has no magnitudes',
      'e: a GGUF adapter takes no low-rank update of an embedding',
      'model.norm.weight: a GGUF adapter takes no module trained whole',
    ]) {
      expect(() => ggufAdapter(rich, LLAMA)).toThrow(message);
    }
  });
});

describeReferences('adapters of others', 'adapters', () => {
  it.each([
    [
      'distilgpt2_r8_cattn_with_trainer_state',
      { model_type: 'gpt2', n_head: 12 },
      'blk.5.attn_qkv.weight',
      [8, 768],
      [2304, 8],
    ],
    ['gpt2_r8_cattn', { model_type: 'gpt2', n_head: 12 }, 'blk.11.attn_qkv.weight', [8, 768], [2304, 8]],
    [
      'gemma3-270m_r4_qkvo',
      { model_type: 'gemma3_text', num_attention_heads: 4, num_key_value_heads: 1 },
      'blk.17.attn_k.weight',
      [4, 640],
      [256, 4],
    ],
    [
      'open-calm-1b_r1_f16',
      { model_type: 'gpt_neox', num_attention_heads: 16 },
      'blk.23.attn_qkv.weight',
      [1, 2048],
      [6144, 1],
    ],
    [
      'qwen2.5-0.5b_r8_qv',
      { model_type: 'qwen2', num_attention_heads: 14, num_key_value_heads: 2 },
      'blk.23.attn_v.weight',
      [8, 896],
      [128, 8],
    ],
    [
      'tinyllama-1.1b_r4_qv',
      { model_type: 'llama', num_attention_heads: 32, num_key_value_heads: 4 },
      'blk.21.attn_q.weight',
      [4, 2048],
      [2048, 4],
    ],
  ])('%s', async (name, config, tensor, a, b) => {
    const source = await readPeftAdapter(localDirectory(referencePath(`adapters/${name}`)));
    const file = await open(ggufAdapter(source, config));
    expect(file.tensors.size).toBe(source.tensors.size);
    expect(file.tensors.get(`${tensor}.lora_a`)?.shape).toEqual(a);
    expect(file.tensors.get(`${tensor}.lora_b`)?.shape).toEqual(b);
    expect(file.entries.get('adapter.lora.alpha')).toEqual({ type: 'float32', value: source.config?.loraAlpha });
  });

  it('OPT’s is refused: llama.cpp does not know OPT', async () => {
    const source = await readPeftAdapter(localDirectory(referencePath('adapters/opt-125m_r16_qv_dpo')));
    expect(() => ggufAdapter(source, { model_type: 'opt', num_attention_heads: 12 })).toThrow(
      'model_type: found "opt"',
    );
  });
});
