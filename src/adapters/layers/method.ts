import { ConfigError } from '../../errors.js';
import type { ModelConfig } from '../../model/config.js';
import { floatTensors } from '../../model/tensors.js';
import type { AdapterMethodDefinition } from '../adapter.js';
import { LayersAdapter, layersMismatches, loadLayers, variablesOf } from './layers-adapter.js';
import { parseLayersConfig, serializeLayersConfig, type LayersConfig } from './config.js';
import type { LayersOptions } from './options.js';

/** Training of the last decoder layers themselves, with norms and output layer where asked for; all else is frozen. */
export const layers = {
  peftType: 'LAYERS',
  shownFields: ['num_trainable_layers', 'train_norms', 'train_head'],
  notExportable: 'whole weights are no low-rank update: merge them into the model instead',
  notOfPeft:
    'PEFT has no adapter that replaces whole layers, so that only this package reads its files: --format merged makes a model',
  parseConfig: parseLayersConfig,
  serializeConfig: serializeLayersConfig,
  optionsOf: (config) => config.options,
  describe: (options) => {
    const { num_trainable_layers: count, train_norms: norms, train_head: head } = options;
    return [
      ...(count > 0 ? [`the last ${count === 1 ? 'layer' : `${count} layers`}`] : []),
      ...(norms ? ['all norms'] : []),
      ...(head ? ['the head'] : []),
    ].join(', ');
  },
  trainable: trainedLayers,
  mismatches: (model, config, tensors) => layersMismatches(model, trainedLayers(model, config.options), tensors),

  create(decoder, options) {
    const config: LayersConfig = {
      peftType: 'LAYERS',
      options: { ...options },
      baseModel: undefined,
      revision: undefined,
    };
    return new LayersAdapter(decoder, config, variablesOf(decoder, trainedLayers(decoder.config, options)));
  },

  load: (decoder, config, tensors, name) =>
    loadLayers(decoder, config, trainedLayers(decoder.config, config.options), tensors, name),
} satisfies AdapterMethodDefinition<LayersConfig, LayersOptions>;

/** @throws ConfigError when the model has fewer layers. */
function trainedLayers(model: ModelConfig, options: LayersOptions): (tensor: string) => boolean {
  const { modules } = model.family;
  const { num_trainable_layers: count, train_norms: norms, train_head: head } = options;
  if (count > model.numLayers)
    throw new ConfigError(
      `adapter.num_trainable_layers: ${count} is more than the ${model.numLayers} layers of the model`,
    );
  const prefixes = Array.from({ length: count }, (_, i) => `${modules.layer(model.numLayers - 1 - i)}.`);
  const output = model.tiedHead ? modules.embedding : modules.head;
  const chosen = new Set(head ? [`${output}.weight`, `${modules.head}.bias`] : []);
  if (norms) {
    const tables = [modules.embedding, modules.positions, modules.head];
    for (const { name } of floatTensors(model))
      if (!tables.some((table) => table !== undefined && name.startsWith(`${table}.`))) chosen.add(name);
  }
  return (tensor) => chosen.has(tensor) || prefixes.some((prefix) => tensor.startsWith(prefix));
}
