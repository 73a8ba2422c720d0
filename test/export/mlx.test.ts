import { describe, expect, it } from 'vitest';
import { readPeftAdapter, type PeftAdapter } from '../../src/adapters/peft/document.js';
import { adapterTensors } from '../../src/export/adapter-tensors.js';
import { mlxFiles } from '../../src/export/mlx.js';
import { portableAdapter } from '../../src/export/portable.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { localDirectory } from '../../src/io/node.js';
import {
  encodeSafetensors,
  float32Tensor,
  SafetensorsFile,
  toFloat32,
  type TensorBytes,
} from '../../src/io/safetensors.js';
import { memorySource } from '../../src/io/source.js';
import { itReferences, referencePath } from '../support/references.js';

const values = (count: number, from: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(from + i));

function adapter(ranks: Record<string, number>, fields: Record<string, unknown>): Promise<PeftAdapter> {
  const tensors: Record<string, TensorBytes> = {};
  for (const [module, rank] of Object.entries(ranks)) {
    tensors[`base_model.model.${module}.lora_A.weight`] = float32Tensor([rank, 3], values(rank * 3, rank));
    tensors[`base_model.model.${module}.lora_B.weight`] = float32Tensor([4, rank], values(rank * 4, 9));
  }
  const config = JSON.stringify(
    { lora_alpha: 6.0, peft_type: 'LORA', r: 2, target_modules: ['q'], ...fields },
    null,
    2,
  );
  return readPeftAdapter(
    memoryDirectory('some/adapter', {
      'adapter_config.json': config,
      'adapter_model.safetensors': encodeSafetensors(tensors, { format: 'pt' }),
    }),
  );
}

/** scale · B · A, from A `[rank, 3]` and B `[4, rank]`. */
function update(a: Float32Array, b: Float32Array, scale: number): number[] {
  const rank = a.length / 3;
  return Array.from({ length: 12 }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < rank; k++)
      sum += (b[Math.floor(at / 3) * rank + k] as number) * (a[k * 3 + (at % 3)] as number);
    return sum * scale;
  });
}

const MODULES = { 'model.layers.0.q': 2, 'model.layers.0.k': 4, 'model.layers.1.q': 2 };
const PATTERNS = { use_rslora: true, rank_pattern: { k: 4 }, alpha_pattern: { 'layers.1.q': 5 } };

const floats = (tensor: TensorBytes): Float32Array => toFloat32(tensor, 'test');

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  actual.forEach((value, i) => expect(value).toBeCloseTo(expected[i] as number, 5));
}

describe('portableAdapter', () => {
  it('means the same with one rank and one alpha, and keeps settings it does not need to change', async () => {
    const source = await adapter(MODULES, { ...PATTERNS, lora_dropout: 0.1, unknown: [1] });
    const plain = portableAdapter(source);
    expect(plain.json).toEqual({ ...source.json, r: 4, use_rslora: false, rank_pattern: {}, alpha_pattern: {} });
    const before = adapterTensors(source).pairs;
    const after = adapterTensors(plain).pairs;
    expect(after.map(({ module, rank, scale }) => [module, rank, scale])).toEqual(
      before.map(({ module }) => [module, 4, 6 / 4]),
    );
    before.forEach(({ a, b, scale }, i) => {
      const other = after[i] as (typeof after)[number];
      expectClose(update(floats(other.a), floats(other.b), other.scale), update(floats(a), floats(b), scale));
    });
  });

  it('leaves a plain adapter as it is, byte for byte', async () => {
    const source = await adapter({ 'model.layers.0.q': 2 }, { rank_pattern: {} });
    expect(portableAdapter(source)).toEqual(source);
  });

  it('refuses DoRA, embeddings and whole modules', async () => {
    const source = await adapter({ 'model.layers.0.q': 2 }, { use_dora: true });
    expect(() => portableAdapter(source)).toThrow(
      'use_dora: a portable adapter has no magnitudes: merge the adapter instead',
    );
  });
});

describe('mlxFiles', () => {
  it("writes mlx-lm's names, transposed tensors and settings", async () => {
    const source = await adapter(MODULES, { ...PATTERNS, lora_dropout: 0.1 });
    const files = Object.fromEntries(mlxFiles(source, 7).map(({ path, content }) => [path, content]));
    const scale = 6 / Math.SQRT2;
    expect(JSON.parse(files['adapter_config.json'] as string)).toEqual({
      fine_tune_type: 'lora',
      lora_parameters: { dropout: 0.1, keys: ['k', 'q'], rank: 4, scale },
      model: null,
      num_layers: 7,
    });
    const file = await SafetensorsFile.open(memorySource('x', files['adapters.safetensors'] as Uint8Array));
    expect([...file.tensors].map(([name, { shape }]) => `${name} ${shape.join('x')}`).sort()).toEqual([
      'model.layers.0.k.lora_a 3x4',
      'model.layers.0.k.lora_b 4x4',
      'model.layers.0.q.lora_a 3x4',
      'model.layers.0.q.lora_b 4x4',
      'model.layers.1.q.lora_a 3x4',
      'model.layers.1.q.lora_b 4x4',
    ]);
    for (const { module, a, b, scale: wanted } of adapterTensors(source).pairs) {
      const [mlxA, mlxB] = [await file.readFloat32(`${module}.lora_a`), await file.readFloat32(`${module}.lora_b`)];
      // x·a·b·scale: a [in, rank], b [rank, out].
      const product = Array.from({ length: 12 }, (_, at) => {
        const [row, column] = [Math.floor(at / 3), at % 3];
        let sum = 0;
        for (let k = 0; k < 4; k++) sum += (mlxA[column * 4 + k] as number) * (mlxB[k * 4 + row] as number);
        return sum * scale;
      });
      expectClose(product, update(floats(a), floats(b), wanted));
    }
  });

  it('lists every module outside of the layers', async () => {
    const source = await adapter({ lm_head: 2, 'model.decoder.layers.0.q': 2 }, {});
    expect(() => mlxFiles(source)).toThrow(/lm_head: in none of the layers.*\n.*model\.decoder\.layers\.0\.q: in none/);
  });

  itReferences(
    'keeps the dtype of the adapters of others, and knows the layers of their models',
    'adapters',
    async () => {
      const outcomes: string[] = [];
      for (const name of [
        'gpt2_r8_cattn',
        'gemma3-270m_r4_qkvo',
        'open-calm-1b_r1_f16',
        'tinyllama-1.1b_r4_qv',
        'qwen2.5-0.5b_r8_qv',
        'distilgpt2_r8_cattn_with_trainer_state',
      ]) {
        const source = await readPeftAdapter(localDirectory(referencePath(`adapters/${name}`)));
        const [weights] = mlxFiles(source);
        const file = await SafetensorsFile.open(memorySource(name, weights?.content as Uint8Array));
        expect(file.tensors.size).toBe(source.tensors.size);
        const [first, info] = [...file.tensors][0] as [string, { dtype: string; shape: readonly number[] }];
        outcomes.push(`${first} ${info.dtype} ${info.shape.join('x')}`);
      }
      expect(outcomes).toEqual([
        'model.h.0.attn.c_attn.lora_a F32 768x8',
        'model.layers.0.self_attn.k_proj.lora_a F32 640x4',
        'model.h.0.attention.query_key_value.lora_a F16 2048x1',
        'model.layers.0.self_attn.q_proj.lora_a F32 2048x4',
        'model.layers.0.self_attn.q_proj.lora_a F32 896x8',
        'model.h.0.attn.c_attn.lora_a F32 768x8',
      ]);
      const opt = await readPeftAdapter(localDirectory(referencePath('adapters/opt-125m_r16_qv_dpo')));
      expect(() => mlxFiles(opt)).toThrow('model.decoder.layers.0.self_attn.q_proj: in none of the layers');
      expect(portableAdapter(opt)).toEqual(opt);
    },
  );
});
