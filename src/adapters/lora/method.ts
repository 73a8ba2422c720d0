import { ConfigError } from '../../errors.js';
import type { Decoder } from '../../model/decoder.js';
import type { AdapterMethodDefinition } from '../adapter.js';
import { settleBaseCopies } from './base-copies.js';
import { loraMismatches } from './tensor-shapes.js';
import { loftqInPython } from './init/loftq.js';
import { decomposes } from './init/random.js';
import { grownVocabulary } from './token-indices.js';
import { provenanceOf } from '../peft/provenance.js';
import { loraLayout } from './layout.js';
import { LoraAdapter } from './lora-adapter.js';
import { adaptedModules, type LoraValues } from './build-modules.js';
import { plainConfig } from './plain-form.js';
import { renamedConfig, renamedKeys } from '../peft/module-keys.js';
import type { LoraOptions } from './options.js';
import { checkPatterns } from './patterns.js';
import { parseLoraConfig, serializeLoraConfig, type LoraConfig } from './config.js';
import { moduleSuffixes } from './targets.js';
import { requireFit, tensorValues } from '../peft/tensors.js';

/** Low-rank updates of linear layers, embedding and output layer, with what PEFT's LoraConfig can train beside them. */
export const lora = {
  peftType: 'LORA',
  shownFields: ['r', 'lora_alpha', 'lora_dropout', 'target_modules', 'use_rslora', 'use_dora'],
  parseConfig: parseLoraConfig,
  serializeConfig: serializeLoraConfig,
  optionsOf: (config) => ({
    r: config.r,
    lora_alpha: config.loraAlpha,
    use_rslora: config.useRslora,
    alpha_pattern: config.alphaPattern,
    target_modules: config.targetModules,
    exclude_modules: config.excludeModules,
    layers_to_transform: config.layersToTransform,
    layers_pattern: config.layersPattern,
    rank_pattern: config.rankPattern,
    use_dora: config.useDora,
    modules_to_save: config.modulesToSave,
    trainable_token_indices: config.trainableTokenIndices,
    init_lora_weights: decomposes(config.initLoraWeights) ? (config.initLoraWeights as 'pissa' | 'loftq') : true,
  }),
  metadata: provenanceOf,
  vocabularySize: (model, options) => grownVocabulary(model, options.trainable_token_indices),
  note: ({ init_lora_weights: init, loftq_config: config }) =>
    init === 'loftq'
      ? `LoftQ: the adapter belongs on a base in 4 bits, which is made again here whenever it is loaded. ${loftqInPython(config?.loftq_iter ?? 1)}`
      : undefined,
  describe: (options) => `${options.use_dora === true ? 'DoRA, ' : ''}rank ${options.r}`,
  mismatches: (model, config, tensors) =>
    loraMismatches(model, renamedConfig(model, config), renamedKeys(model, tensors)),

  create(decoder, options, seed) {
    const config = renamedConfig(decoder.config, configOf(decoder, options));
    const values: LoraValues = { kind: 'fresh', seed };
    const layout = loraLayout(decoder.config, config);
    checkPatterns(
      layout.updates.map(({ module }) => module),
      { rank_pattern: config.rankPattern, alpha_pattern: config.alphaPattern },
    );
    return new LoraAdapter(
      decoder,
      plainConfig(config, layout),
      adaptedModules(decoder, config, layout, values, {
        ratio: options.loraplus_lr_ratio ?? 1,
        embedding: options.loraplus_lr_embedding,
      }),
    );
  },

  async load(decoder, saved, stored, name, options = {}) {
    const [config, tensors] = [renamedConfig(decoder.config, saved), renamedKeys(decoder.config, stored)];
    requireFit(loraMismatches(decoder.config, config, tensors), name);
    const settled = await settleBaseCopies(decoder, config, tensors, name);
    for (const note of settled.notes) options.onNote?.(note);
    const { settings = {} } = options;
    const { lora_dropout: dropout } = settings;
    const merged = dropout === undefined ? settled.config : { ...settled.config, loraDropout: dropout };
    // All are read before any goes to the device, so that a broken one leaves nothing behind.
    const read = new Map([...tensors.keys()].map((key) => [key, tensorValues(tensors, key, name)]));
    const modules = adaptedModules(
      decoder,
      merged,
      loraLayout(decoder.config, merged),
      { kind: 'saved', values: (key) => read.get(key) as Float32Array },
      { ratio: settings.loraplus_lr_ratio ?? 1, embedding: settings.loraplus_lr_embedding },
    );
    const adapter = new LoraAdapter(decoder, merged, modules);
    try {
      await adapter.initialize();
    } catch (error) {
      adapter.dispose();
      throw error;
    }
    return adapter;
  },
} satisfies AdapterMethodDefinition<LoraConfig, LoraOptions>;

/** What adapter_config.json will say of a fresh adapter. @throws ConfigError when options contradict each other. */
function configOf(decoder: Decoder, options: LoraOptions): LoraConfig {
  const { init_lora_weights: init, target_modules: targets } = options;
  if (init === 'loftq' && options.loftq_config !== undefined && options.loftq_config.loftq_bits !== 4) {
    throw new ConfigError(`loftq_config.loftq_bits: found ${String(options.loftq_config.loftq_bits)}, allowed 4`);
  }
  return {
    peftType: 'LORA',
    r: options.r,
    loraAlpha: options.lora_alpha,
    loraDropout: options.lora_dropout,
    targetModules: targets === 'all-linear' ? moduleSuffixes([...decoder.linears.keys()]).sort() : targets,
    useRslora: options.use_rslora,
    rankPattern: options.rank_pattern ?? {},
    alphaPattern: options.alpha_pattern ?? {},
    initLoraWeights: init,
    ...(decoder.config.family.weightLayout === 'conv1d' ? { fanInFanOut: true } : {}),
    ...(options.use_dora === true ? { useDora: true } : {}),
    ...(init === 'loftq' ? { loftqConfig: options.loftq_config ?? { loftq_bits: 4, loftq_iter: 1 } } : {}),
    ...(options.exclude_modules === undefined ? {} : { excludeModules: options.exclude_modules }),
    ...(options.layers_to_transform === undefined ? {} : { layersToTransform: options.layers_to_transform }),
    ...(options.layers_pattern === undefined ? {} : { layersPattern: options.layers_pattern }),
    ...(options.modules_to_save === undefined || options.modules_to_save.length === 0
      ? {}
      : { modulesToSave: options.modules_to_save }),
    ...(options.trainable_token_indices === undefined
      ? {}
      : { trainableTokenIndices: options.trainable_token_indices }),
    baseModel: undefined,
    revision: undefined,
  };
}
