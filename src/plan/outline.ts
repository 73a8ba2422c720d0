import * as tf from '@tensorflow/tfjs-core';
import type { DryRunBackend, FrozenWeight } from '../../kernels/index.js';
import { LoraLinear } from '../adapters/lora.js';
import { definitionOf, type AdapterSettings } from '../adapters/registry.js';
import { matchTargets } from '../adapters/targets.js';
import type { ModelConfig } from '../model/config.js';
import { Decoder, type LayerNorms } from '../model/decoder.js';
import { LINEAR_ROLES } from '../model/families/family.js';
import { FrozenLinear } from '../model/linear.js';
import { expectedTensors, linearShapes, type LoadQuantization } from '../model/load.js';

/** Kinds of base weights, as they are told apart in a plan. */
export const WEIGHT_TAGS = { quantized: 'weights in 4 bits', dense: 'dense weights', embedding: 'embedding and head', small: 'norms, biases, tables' } as const;

/** How a checkpoint that is already in 4 bits, or `load_in_4bit`, stores the linear layers; undefined for floats. */
export function storedQuantization(model: ModelConfig, asked: LoadQuantization | undefined): LoadQuantization | undefined {
  if (model.quantization === undefined) return asked;
  return { quantType: 'nf4', doubleQuant: model.quantization['bnb_4bit_use_double_quant'] === true };
}

/** The decoder that a model directory would load as, with sizes and no values. */
export function outlineDecoder(backend: DryRunBackend, config: ModelConfig, quantization: LoadQuantization | undefined): Decoder {
  const tagged = <T>(tag: string, make: () => T): T => {
    backend.tag = tag;
    return make();
  };
  const tensor = (shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): tf.Tensor => tf.keep(backend.tensor(shape, dtype));
  const vector = (size: number): tf.Tensor1D => tagged(WEIGHT_TAGS.small, () => tensor([size]) as tf.Tensor1D);
  const dense = (tag: string, shape: readonly [number, number]): FrozenWeight => ({ kind: 'dense', shape, values: tagged(tag, () => tensor(shape) as tf.Tensor2D) });
  const packed = (shape: readonly [number, number], { quantType, blockSize = 64, doubleQuant = true }: LoadQuantization): FrozenWeight => {
    const count = shape[0] * shape[1];
    const blocks = Math.ceil(count / blockSize);
    const vectorOf = (size: number, dtype: 'float32' | 'int32' = 'float32'): tf.Tensor1D => tensor([size], dtype) as tf.Tensor1D;
    return tagged(WEIGHT_TAGS.quantized, () => ({
      kind: '4bit',
      ...{ shape, quantType, blockSize, dtype: 'F32' },
      packed: vectorOf(Math.ceil(count / 8), 'int32'),
      code: vectorOf(16),
      absmax: doubleQuant
        ? { kind: 'nested', codes: vectorOf(Math.ceil(blocks / 4), 'int32'), map: vectorOf(256), nestedAbsmax: vectorOf(Math.ceil(blocks / 256)), nestedBlockSize: 256, offset: 0 }
        : { kind: 'plain', values: vectorOf(blocks) },
    }));
  };
  const { modules, qkNorm } = config.family;
  const expected = expectedTensors(config);
  const shapes = linearShapes(config);
  const linears = new Map<string, FrozenLinear>();
  const norms: LayerNorms[] = [];
  for (let i = 0; i < config.numLayers; i++) {
    for (const role of LINEAR_ROLES) {
      const name = `${modules.layer(i)}.${modules.linears[role]}`;
      const weight = quantization === undefined ? dense(WEIGHT_TAGS.dense, shapes[role]) : packed(shapes[role], quantization);
      linears.set(name, new FrozenLinear(name, weight, expected.has(`${name}.bias`) ? vector(shapes[role][0]) : undefined));
    }
    norms.push({
      attention: vector(config.hiddenSize),
      mlp: vector(config.hiddenSize),
      ...(qkNorm ? { query: vector(config.headDim), key: vector(config.headDim) } : {}),
    });
  }
  const table = [config.vocabSize, config.hiddenSize] as const;
  return new Decoder(config, {
    embedding: tagged(WEIGHT_TAGS.embedding, () => tensor(table) as tf.Tensor2D),
    linears,
    norms,
    finalNorm: vector(config.hiddenSize),
    head: config.tiedHead ? undefined : dense(WEIGHT_TAGS.embedding, table),
  });
}

/** An adapter's part in a step. */
export interface OutlinedAdapter {
  readonly parameters: readonly tf.Variable[];
  readonly layerParameters: readonly (readonly tf.Tensor[])[];
  dispose(): void;
}

/** Puts the outline of a new adapter on the outline of a decoder. */
export function outlineAdapter(backend: DryRunBackend, decoder: Decoder, options: AdapterSettings): OutlinedAdapter {
  if (options.method !== 'lora') {
    const adapter = definitionOf((options as AdapterSettings).method).create(decoder, options, 0);
    return { parameters: adapter.parameters.map((p) => p.variable), layerParameters: adapter.layerParameters, dispose: () => adapter.dispose() };
  }
  // Made here and not by `create`, which draws as many random numbers as A has values.
  const variable = (shape: readonly [number, number]): tf.Variable<tf.Rank.R2> => {
    const tensor = backend.tensor(shape) as tf.Tensor2D;
    const made = tf.variable(tensor);
    tensor.dispose();
    return made;
  };
  const layers = matchTargets([...decoder.linears.keys()], options.target_modules).map((name, index) => {
    const base = decoder.linears.get(name) as FrozenLinear;
    const layer = new LoraLinear(base, variable([options.r, base.inFeatures]), variable([base.outFeatures, options.r]), 1, options.lora_dropout, index);
    decoder.linears.set(name, layer);
    return layer;
  });
  const { modules } = decoder.config.family;
  const parameters = layers.flatMap((layer) => [layer.a, layer.b]);
  return {
    parameters,
    layerParameters: Array.from({ length: decoder.config.numLayers }, (_, i) =>
      layers.filter((layer) => layer.name.startsWith(`${modules.layer(i)}.`)).flatMap((layer) => [layer.a, layer.b]),
    ),
    dispose: () => {
      tf.dispose(parameters);
    },
  };
}
