import * as tf from '@tensorflow/tfjs-core';
import type { DryRunBackend, FrozenWeight } from '../../kernels/index.js';
import { definitionOf, type AdapterSettings } from '../adapters/registry.js';
import type { ModelConfig } from '../model/config.js';
import { Decoder } from '../model/decoder.js';
import { FrozenLinear } from '../model/linear.js';
import type { LoadQuantization } from '../model/load.js';
import { variableFrom } from '../model/variable.js';
import { floatTensors, linearLayers } from '../model/tensors.js';
import { decoderWeights } from '../model/weights.js';

/** Kinds of base weights, as they are told apart in a plan. */
export const WEIGHT_TAGS = {
  quantized: 'weights in 4 bits',
  dense: 'dense weights',
  embedding: 'embedding and head',
  small: 'norms, biases, tables',
} as const;

/** How a checkpoint that is already in 4 bits, or `load_in_4bit`, stores the linear layers; undefined for floats. */
export function storedQuantization(
  model: ModelConfig,
  asked: LoadQuantization | undefined,
): LoadQuantization | undefined {
  if (model.quantization === undefined) return asked;
  return { quantType: 'nf4', doubleQuant: model.quantization['bnb_4bit_use_double_quant'] === true };
}

/** The decoder that a model directory would load as, with sizes and no values. */
export function outlineDecoder(
  backend: DryRunBackend,
  config: ModelConfig,
  quantization: LoadQuantization | undefined,
  trained: (tensor: string) => boolean = () => false,
): Decoder {
  const tagged = <T>(tag: string, make: () => T): T => {
    backend.tag = tag;
    return make();
  };
  const tensor = (shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): tf.Tensor =>
    tf.keep(backend.tensor(shape, dtype));
  const float = (tag: string, name: string, shape: readonly number[]): tf.Tensor =>
    tagged(tag, () => (trained(name) ? variableFrom(backend.tensor(shape)) : tensor(shape)));
  const vector = (name: string, size: number): tf.Tensor1D => float(WEIGHT_TAGS.small, name, [size]) as tf.Tensor1D;
  const dense = (name: string, shape: readonly [number, number]): FrozenWeight => ({
    kind: 'dense',
    shape,
    values: float(WEIGHT_TAGS.dense, name, shape) as tf.Tensor2D,
  });
  const packed = (
    shape: readonly [number, number],
    { quantType, blockSize = 64, doubleQuant = true }: LoadQuantization,
  ): FrozenWeight => {
    const count = shape[0] * shape[1];
    const blocks = Math.ceil(count / blockSize);
    const vectorOf = (size: number, dtype: 'float32' | 'int32' = 'float32'): tf.Tensor1D =>
      tensor([size], dtype) as tf.Tensor1D;
    return tagged(WEIGHT_TAGS.quantized, () => ({
      kind: '4bit',
      ...{ shape, quantType, blockSize, dtype: 'F32' },
      packed: vectorOf(Math.ceil(count / 8), 'int32'),
      code: vectorOf(16),
      absmax: doubleQuant
        ? {
            kind: 'nested',
            codes: vectorOf(Math.ceil(blocks / 4), 'int32'),
            map: vectorOf(256),
            nestedAbsmax: vectorOf(Math.ceil(blocks / 256)),
            nestedBlockSize: 256,
            offset: 0,
          }
        : { kind: 'plain', values: vectorOf(blocks) },
    }));
  };
  const linears = linearLayers(config).map(({ name, shape, bias }): [string, FrozenLinear] => {
    const weight =
      quantization === undefined || trained(`${name}.weight`)
        ? dense(`${name}.weight`, shape)
        : packed(shape, quantization);
    return [name, new FrozenLinear(name, weight, bias ? vector(`${name}.bias`, shape[0]) : undefined)];
  });
  const floats = floatTensors(config).map(({ name, shape: [rows, columns] }): [string, tf.Tensor] => {
    return [name, columns === undefined ? vector(name, rows) : float(WEIGHT_TAGS.embedding, name, [rows, columns])];
  });
  return new Decoder(config, decoderWeights(config, new Map(linears), new Map(floats)));
}

/** An adapter's part in a step. */
export interface OutlinedAdapter {
  readonly parameters: readonly tf.Variable[];
  readonly layerParameters: readonly (readonly tf.Tensor[])[];
  dispose(): void;
}

/** Puts the outline of a new adapter on the outline of a decoder. */
export function outlineAdapter(decoder: Decoder, options: AdapterSettings): OutlinedAdapter {
  const adapter = definitionOf(options.method).create(decoder, options, undefined);
  return {
    parameters: adapter.parameters.map((p) => p.variable),
    layerParameters: adapter.layerParameters,
    dispose: () => adapter.dispose(),
  };
}
