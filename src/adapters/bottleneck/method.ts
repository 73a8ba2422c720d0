import * as tf from '@tensorflow/tfjs-core';
import { ConfigError } from '../../errors.js';
import type { ModelConfig } from '../../model/config.js';
import type { Decoder } from '../../model/decoder.js';
import { variableFrom } from '../../model/variable.js';
import type { Adapter, AdapterMethodDefinition, AdapterParameter } from '../adapter.js';
import { parseBottleneckConfig, serializeBottleneckConfig, type BottleneckConfig, type Placement } from './config.js';
import { Bottleneck, networkShapes } from './network.js';
import type { BottleneckOptions } from './options.js';
import { MODULE_PREFIX, requireFit, shapeMismatches, tensorValues } from '../peft/tensors.js';

/** The hidden size by the width, where neither is given. */
const REDUCTION = 16;

/**
 * The sublayers that get a network, in the order in which they run. Pfeiffer et al. leave out those behind attention.
 */
const PLACED = { houlsby: ['attention', 'mlp'], pfeiffer: ['mlp'] } as const satisfies Record<
  Placement,
  readonly ('attention' | 'mlp')[]
>;

class BottleneckAdapter implements Adapter {
  readonly parameters: readonly AdapterParameter[];
  readonly layerParameters: readonly (readonly tf.Tensor[])[];

  constructor(
    private readonly decoder: Decoder,
    readonly config: BottleneckConfig,
    private readonly networks: readonly Bottleneck[],
    private readonly seed: number,
  ) {
    this.parameters = networks.flatMap((network) => network.parameters);
    this.layerParameters = Array.from({ length: decoder.config.numLayers }, (_, i) =>
      networks
        .filter(({ layer }) => layer === i)
        .flatMap((network) => network.parameters.map(({ variable }) => variable)),
    );
    this.attach();
  }

  initialize(): Promise<void> {
    for (const network of this.networks) network.initialize(this.seed);
    return Promise.resolve();
  }

  attach(): void {
    for (const { path, forward } of this.networks) {
      if (this.decoder.sublayers.get(path) !== forward) requireFree(this.decoder, path);
      this.decoder.sublayers.set(path, forward);
    }
  }

  detach(): void {
    for (const { path, forward } of this.networks)
      if (this.decoder.sublayers.get(path) === forward) this.decoder.sublayers.delete(path);
  }

  dispose(): void {
    this.detach();
    for (const { variable } of this.parameters) variable.dispose();
  }
}

export const bottleneck = {
  peftType: 'BOTTLENECK',
  shownFields: ['bottleneck_size', 'placement', 'non_linearity'],
  notMergeable:
    'its networks have a non-linearity between their projections, so no change of linear weights does what they do',
  notExportable: 'its networks are layers of their own, which other runtimes do not have',
  notOfPeft: 'PEFT has no bottleneck adapters, so that only this package reads its files',
  parseConfig: parseBottleneckConfig,
  serializeConfig: serializeBottleneckConfig,
  optionsOf: (config) => ({
    bottleneck_size: config.size,
    placement: config.placement,
    non_linearity: config.nonLinearity,
  }),
  describe: (options) =>
    options.bottleneck_size === undefined
      ? `hidden size / ${options.reduction_factor ?? REDUCTION} (${options.placement})`
      : `width ${options.bottleneck_size} (${options.placement})`,
  mismatches: (model, config, tensors) => shapeMismatches(expected(model, config), tensors),

  create(decoder, options, seed): Adapter {
    const size =
      options.bottleneck_size ??
      Math.max(1, Math.round(decoder.config.hiddenSize / (options.reduction_factor ?? REDUCTION)));
    if (size > decoder.config.hiddenSize)
      throw new ConfigError(
        `adapter.bottleneck_size: ${size} is more than the model's hidden size of ${decoder.config.hiddenSize}`,
      );
    const config: BottleneckConfig = {
      peftType: 'BOTTLENECK',
      size,
      placement: options.placement,
      nonLinearity: options.non_linearity,
      baseModel: undefined,
      revision: undefined,
    };
    // The values come with `initialize`: a plan of sizes has no use for random numbers.
    return networks(decoder, config, seed ?? 0, (shape) => tf.zeros([...shape]));
  },

  load(decoder, config, tensors, name): Adapter {
    requireFit(shapeMismatches(expected(decoder.config, config), tensors), name);
    // All are read before any goes to the device, so that a broken one leaves nothing behind.
    const values = new Map([...tensors.keys()].map((key) => [key, tensorValues(tensors, key, name)]));
    return networks(decoder, config, 0, (shape, key) => tf.tensor(values.get(key) as Float32Array, [...shape]));
  },
} satisfies AdapterMethodDefinition<BottleneckConfig, BottleneckOptions>;

function networks(
  decoder: Decoder,
  config: BottleneckConfig,
  seed: number,
  make: (shape: readonly number[], key: string) => tf.Tensor,
): BottleneckAdapter {
  const places = sublayers(decoder.config, config.placement);
  for (const { path } of places) requireFree(decoder, path);
  const made = places.map(({ path, layer }) => {
    const shapes = Object.entries(networkShapes(decoder.config.hiddenSize, config.size));
    const variables = new Map(
      shapes.map(([name, shape]) => [name, variableFrom(make(shape, `${MODULE_PREFIX}${path}.${name}`))]),
    );
    return new Bottleneck(path, layer, config.nonLinearity, variables);
  });
  return new BottleneckAdapter(decoder, config, made, seed);
}

function requireFree(decoder: Decoder, path: string): void {
  if (decoder.sublayers.has(path)) throw new Error(`${path} already carries an adapter: detach it first`);
}

function sublayers(model: ModelConfig, placement: Placement): { path: string; layer: number }[] {
  const { modules } = model.family;
  return Array.from({ length: model.numLayers }, (_, layer) =>
    PLACED[placement].map((sublayer) => ({ path: `${modules.layer(layer)}.${modules.sublayers[sublayer]}`, layer })),
  ).flat();
}

function expected(model: ModelConfig, config: BottleneckConfig): Map<string, readonly number[]> {
  const shapes = Object.entries(networkShapes(model.hiddenSize, config.size));
  return new Map(
    sublayers(model, config.placement).flatMap(({ path }) =>
      shapes.map(([name, shape]) => [`${MODULE_PREFIX}${path}.${name}`, shape] as const),
    ),
  );
}
