import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, describe, expect, it } from 'vitest';
import { readPeftAdapter } from '../../src/adapters/peft/document.js';
import { loadAdapter } from '../../src/adapters/peft/files.js';
import { fusionOf } from '../../src/export/weight-merge.js';
import { mergedFiles } from '../../src/export/merge.js';
import { coarsestDtype, probeLogits, probeTokens, requireSameLogits } from '../../src/export/probe.js';
import { openCheckpoint } from '../../src/io/weights-file.js';
import { memoryDirectory, type Directory } from '../../src/io/directory.js';
import { encodeSafetensors, float32Tensor, type TensorBytes } from '../../src/io/safetensors.js';
import { parseModelConfig } from '../../src/model/config.js';
import { loadModel } from '../../src/model/load.js';
import { expectedTensors } from '../../src/model/tensors.js';
import { Random } from '../../src/random.js';
import { normals } from '../support/numeric.js';
import { asDirectory } from '../support/outputs.js';
import { TINY_CONFIG } from '../support/tiny-model.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const TIED = { ...TINY_CONFIG, tie_word_embeddings: true };
const NEOX = {
  model_type: 'gpt_neox',
  vocab_size: 32,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  max_position_embeddings: 64,
  eos_token_id: 2,
};

/** A model whose file calls tensors otherwise, or says in its metadata where they are. */
function model(
  config: Readonly<Record<string, unknown>>,
  renames: Readonly<Record<string, string>>,
  metadata: Record<string, string> = {},
): Directory {
  const random = new Random(3, 'merge-tied');
  const tensors = new Map<string, TensorBytes>();
  for (const [name, shape] of expectedTensors(parseModelConfig(config))) {
    const values = normals(
      random,
      shape.reduce((product, n) => product * n, 1),
      0.3,
    );
    tensors.set(renames[name] ?? name, float32Tensor(shape, values));
  }
  return memoryDirectory('base', {
    'config.json': JSON.stringify(config),
    'model.safetensors': encodeSafetensors(tensors, { format: 'pt', ...metadata }),
  });
}

function adapter(module: string, [out, inner]: readonly [number, number], embedding = false): Directory {
  const random = new Random(4, module);
  const [a, b] = embedding ? ['lora_embedding_A', 'lora_embedding_B'] : ['lora_A.weight', 'lora_B.weight'];
  const key = `base_model.model.${module}.`;
  const tensors = new Map([
    [`${key}${a}`, float32Tensor([2, inner], normals(random, 2 * inner, 0.3))],
    [`${key}${b}`, float32Tensor([out, 2], normals(random, 2 * out, 0.3))],
  ]);
  const config = { peft_type: 'LORA', r: 2, lora_alpha: 4, target_modules: [module] };
  return memoryDirectory('adapter', {
    'adapter_config.json': JSON.stringify(config),
    'adapter_model.safetensors': encodeSafetensors(tensors, {}),
  });
}

async function logitsOf(base: Directory, put?: Directory): Promise<Float32Array> {
  const decoder = await loadModel(base);
  const loaded = put === undefined ? undefined : await loadAdapter(decoder, put);
  const logits = await probeLogits(decoder, probeTokens(decoder.vocabSize, decoder.maxLength));
  loaded?.dispose();
  decoder.dispose();
  return logits;
}

describe('a merge', () => {
  const q = (): Directory => adapter('model.layers.0.self_attn.q_proj', [32, 32]);
  const head = (): Directory => adapter('lm_head', [32, 32]);
  const table = (): Directory => adapter('model.embed_tokens', [32, 32], true);
  const onlyHead = (): Directory => model(TIED, { 'model.embed_tokens.weight': 'lm_head.weight' });
  const cases: Record<string, readonly [Directory, Directory]> = {
    'a tied table stored as the output layer, a layer adapted': [onlyHead(), q()],
    'a tied table stored as the output layer, which is adapted': [onlyHead(), head()],
    'a tied table stored as the output layer, the embedding adapted': [onlyHead(), table()],
    'a tied table stored as the embedding, the output layer adapted': [model(TIED, {}), head()],
    'an output layer that the metadata call an alias': [
      model(TINY_CONFIG, { 'lm_head.weight': 'shared.weight' }, { 'lm_head.weight': 'shared.weight' }),
      q(),
    ],
    'embed_out of GPT-NeoX': [model(NEOX, { 'lm_head.weight': 'embed_out.weight' }), adapter('lm_head', [32, 32])],
    'embed_out of GPT-NeoX, an adapter from before': [
      model(NEOX, { 'lm_head.weight': 'embed_out.weight' }),
      adapter('embed_out', [32, 32]),
    ],
    'lm_head of GPT-NeoX': [model(NEOX, {}), adapter('embed_out', [32, 32])],
  };

  it.each(Object.entries(cases))('has the logits of base and adapter: %s', async (_, [base, put]) => {
    const checkpoint = await openCheckpoint(base);
    const written = await asDirectory(await mergedFiles(base, checkpoint, fusionOf(await readPeftAdapter(put))));
    const [before, plain, after] = [await logitsOf(base, put), await logitsOf(base), await logitsOf(written)];
    const merged = await openCheckpoint(written);
    expect(coarsestDtype(merged)).toBe('F32');
    expect(requireSameLogits(before, after, 'F32', 'merged')).toBeLessThan(1e-4);
    expect(() => requireSameLogits(before, plain, 'BF16', 'merged')).toThrow(
      "merged: read back, the model's logits differ from those of base and adapter",
    );
    // A table that is not tied any more is there for both.
    const names = merged.names();
    expect(names.some((name) => /embed_tokens\.weight|embed_in\.weight/.test(name))).toBe(true);
  });
});
