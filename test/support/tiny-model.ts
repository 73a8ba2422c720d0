import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeSafetensors, float32Tensor, type TensorBytes } from '../../src/io/safetensors.js';
import { parseModelConfig } from '../../src/model/config.js';
import { expectedTensors } from '../../src/model/tensors.js';
import { Random } from '../../src/random.js';
import { normals } from './numeric.js';

/** A Llama of a few thousand random weights, without tokenizer. */
export const TINY_CONFIG = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  vocab_size: 32,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: 2,
};

/** Files of the model directory. */
export function tinyModelFiles(seed = 1): { 'config.json': string; 'model.safetensors': Uint8Array } {
  return modelFiles(TINY_CONFIG, seed);
}

/** Files of a model directory with random weights. */
export function modelFiles(
  config: Readonly<Record<string, unknown>>,
  seed = 1,
): { 'config.json': string; 'model.safetensors': Uint8Array } {
  const random = new Random(seed, 'tiny-model');
  const tensors = new Map<string, TensorBytes>();
  for (const [name, shape] of expectedTensors(parseModelConfig(config))) {
    const size = shape.reduce((product, n) => product * n, 1);
    const values = name.includes('norm') ? new Float32Array(size).fill(1) : normals(random, size, 0.2);
    tensors.set(name, float32Tensor(shape, values));
  }
  return { 'config.json': JSON.stringify(config), 'model.safetensors': encodeSafetensors(tensors, { format: 'pt' }) };
}

/** Writes the model directory. */
export async function writeTinyModel(folder: string, seed = 1): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const [name, content] of Object.entries(tinyModelFiles(seed))) await writeFile(join(folder, name), content);
  return folder;
}

/** Pretokenised rows that can be learnt: each counts up from a random id, one or two at a time. */
export function countingRows(count: number, seed: number, length = 12): { input_ids: number[] }[] {
  const random = new Random(seed, 'counting-rows');
  return Array.from({ length: count }, () => {
    const start = random.below(TINY_CONFIG.vocab_size);
    const step = 1 + random.below(2);
    return { input_ids: Array.from({ length }, (_, i) => (start + i * step) % TINY_CONFIG.vocab_size) };
  });
}

export function toJsonl(rows: readonly unknown[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}
