import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, describe, expect, it } from 'vitest';
import { canonicalKeys, renamedConfig, renamedKeys } from '../../../src/adapters/peft/module-keys.js';
import { METHODS } from '../../../src/adapters/registry.js';
import { parseLoraConfig } from '../../../src/adapters/lora/config.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { encodeSafetensors, float32Tensor } from '../../../src/io/safetensors.js';
import { parseModelConfig } from '../../../src/model/config.js';
import { loadModel } from '../../../src/model/load.js';
import { expectedTensors } from '../../../src/model/tensors.js';

const NEOX = {
  model_type: 'gpt_neox',
  vocab_size: 32,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 32,
};
const model = parseModelConfig(NEOX);

function keys(...names: string[]): string[] {
  return [...canonicalKeys(new Map(names.map((name) => [name, 0])), 'f').keys()];
}

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('keys of adapters', () => {
  const q = 'base_model.model.model.layers.0.self_attn.q_proj';

  it('are freed of what wrappers and the name of the adapter leave in them', () => {
    for (const key of [
      `_orig_mod.${q}.lora_A.weight`,
      `base_model.model._orig_mod.model.layers.0.self_attn.q_proj.lora_A.weight`,
      `module.${q}.lora_A.weight`,
      `module._orig_mod.${q}.lora_A.default.weight`,
      `base_model.model.module.model.layers.0.self_attn.q_proj.lora_A.weight`,
      `base_model.model.model.layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.self_attn.q_proj.lora_A.my_run.weight`,
      `${q}.lora_A.weight`,
    ]) {
      expect(keys(key), key).toEqual([`${q}.lora_A.weight`]);
    }
    expect(
      keys(
        `${q}.lora_magnitude_vector.default.weight`,
        'base_model.model.lm_head.modules_to_save.default.weight',
        'base_model.model.x.lora_embedding_A.default',
        'base_model.model.x.token_adapter.trainable_tokens_delta.default',
      ),
    ).toEqual([
      `${q}.lora_magnitude_vector.weight`,
      'base_model.model.lm_head.weight',
      'base_model.model.x.lora_embedding_A',
      'base_model.model.x.token_adapter.trainable_tokens_delta',
    ]);
  });

  it('of several adapters in one file, or twice the same, are refused by name', () => {
    expect(() => keys(`${q}.lora_A.one.weight`, `${q}.lora_A.two.weight`)).toThrow(
      'f: holds the adapters one, two in one file',
    );
    expect(() => keys(`${q}.lora_A.weight`, `_orig_mod.${q}.lora_A.weight`)).toThrow(
      `f: _orig_mod.${q}.lora_A.weight: there twice`,
    );
  });
});

describe("GPT-NeoX's output layer", () => {
  it('is lm_head in what is written and made, and embed_out in checkpoints and older adapters', async () => {
    const files = new Map(
      [...expectedTensors(model)].map(([name, shape]) => [
        name.replace(/^lm_head\./, 'embed_out.'),
        float32Tensor(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.01)),
      ]),
    );
    expect(files.has('embed_out.weight')).toBe(true);
    const decoder = await loadModel(
      memoryDirectory('neox', {
        'config.json': JSON.stringify(NEOX),
        'model.safetensors': encodeSafetensors(files, {}),
      }),
    );
    for (const name of ['embed_out', 'lm_head']) {
      const adapter = METHODS.lora.create(
        decoder,
        { r: 2, lora_alpha: 4, lora_dropout: 0, target_modules: [name], use_rslora: false, init_lora_weights: true },
        1,
      );
      expect(adapter.config).toMatchObject({ targetModules: ['lm_head'] });
      expect(adapter.parameters.map(({ key }) => key)).toEqual([
        'base_model.model.lm_head.lora_A.weight',
        'base_model.model.lm_head.lora_B.weight',
      ]);
      adapter.dispose();
    }
    const old = parseLoraConfig({
      peft_type: 'LORA',
      r: 2,
      lora_alpha: 4,
      target_modules: '.*(embed_out|dense)',
      modules_to_save: ['embed_out'],
      trainable_token_indices: { embed_out: [1] },
      rank_pattern: { embed_out: 3 },
    });
    expect(renamedConfig(model, old)).toMatchObject({
      targetModules: '.*(lm_head|dense)',
      modulesToSave: ['lm_head'],
      trainableTokenIndices: { lm_head: [1] },
      rankPattern: { lm_head: 3 },
    });
    expect([...renamedKeys(model, new Map([['base_model.model.embed_out.lora_A.weight', 1]])).keys()]).toEqual([
      'base_model.model.lm_head.lora_A.weight',
    ]);
    decoder.dispose();
  });
});
