import { ConfigError } from '../../errors.js';
import type { ModelConfig } from '../../model/config.js';
import type { AdapterMethodDefinition } from '../adapter.js';
import { LayersAdapter, layersMismatches, loadLayers, variablesOf } from '../layers/layers-adapter.js';
import { parseFullConfig, serializeFullConfig, type FullConfig } from '../layers/config.js';
import { fullOptions, type FullOptions } from './options.js';

/** Training of every weight. The result is a model, not an adapter; its two adapter files are what checkpoints hold. */
export const full = {
  peftType: 'FULL',
  shownFields: [],
  producesModel: true,
  notMergeable: 'the result of such a run is a model already',
  notExportable: 'whole weights are no low-rank update: the trained model is a model directory',
  notOfPeft: 'the trained model is a model directory',
  parseConfig: parseFullConfig,
  serializeConfig: serializeFullConfig,
  optionsOf: () => ({}),
  describe: () => 'every weight',
  trainable: everything,
  mismatches: (model, _config, tensors) => layersMismatches(model, everything(model), tensors),

  create(decoder, _options) {
    const config: FullConfig = { peftType: 'FULL', baseModel: undefined, revision: undefined };
    return new LayersAdapter(decoder, config, variablesOf(decoder, everything(decoder.config)));
  },

  load: (decoder, config, tensors, name) => loadLayers(decoder, config, everything(decoder.config), tensors, name),
} satisfies AdapterMethodDefinition<FullConfig, FullOptions>;

/** @throws ConfigError for a checkpoint in 4 bits. */
function everything(model: ModelConfig): () => boolean {
  if (model.quantization !== undefined)
    throw new ConfigError(`adapter.method: full: the model is stored in 4 bits, and ${fullOptions.floatBaseOnly}`);
  return () => true;
}
