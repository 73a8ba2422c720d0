import { expect, it } from 'vitest';
import { METHODS } from '../../../src/adapters/registry.js';
import { memoryDirectory } from '../../../src/io/directory.js';
import { loadModel } from '../../../src/model/load.js';
import { decays } from '../../../src/train/optimizers/weight-decay.js';
import { describeBackends } from '../../support/backends.js';
import { FAMILY_CONFIGS } from '../../support/family-models.js';
import { modelFiles } from '../../support/tiny-model.js';

/**
 * The names that transformers' Trainer spares (`get_decay_parameter_names`), with the LayerNorms that it tells by their
 * class.
 */
const SPARED = /bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)|\.ln_(?:1|2|f)\./;

describeBackends('weight decay', ['cpu'], () => {
  it.each(FAMILY_CONFIGS)('spares norms and biases: %s', async (_name, config) => {
    const decoder = await loadModel(memoryDirectory('tiny', modelFiles(config)), { trainable: () => true });
    const adapter = METHODS.full.create(decoder, { save_dtype: 'auto' });
    for (const parameter of adapter.parameters)
      expect(decays(parameter), parameter.key).toBe(!SPARED.test(parameter.key));
    expect(adapter.parameters.some((parameter) => !decays(parameter))).toBe(true);
    adapter.dispose();
    decoder.dispose();
  });

  it('pulls at all of a LoRA, with its magnitudes', async () => {
    const [, config] = FAMILY_CONFIGS[0] as (typeof FAMILY_CONFIGS)[number];
    const decoder = await loadModel(memoryDirectory('tiny', modelFiles(config)));
    const adapter = METHODS.lora.create(
      decoder,
      {
        r: 2,
        lora_alpha: 4,
        lora_dropout: 0,
        target_modules: ['q_proj'],
        use_rslora: false,
        use_dora: true,
        init_lora_weights: true,
      },
      1,
    );
    expect(adapter.parameters.every(decays)).toBe(true);
    adapter.dispose();
    decoder.dispose();
  });
});
