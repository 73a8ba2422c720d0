import * as tf from '@tensorflow/tfjs-core';
import { uploadDense, uploadQuantized, type DenseWeight, type FrozenWeight } from '../../kernels/index.js';
import { FormatError } from '../errors.js';
import { openCheckpoint, type Checkpoint } from '../io/weights-file.js';
import { readJson, type Directory } from '../io/directory.js';
import { isRecord } from '../io/json.js';
import { readQuantized } from '../quant/bitsandbytes.js';
import { dequantize4bit, quantize4bit } from '../quant/quantize.js';
import { parseModelConfig, type ModelConfig } from './config.js';
import { Decoder } from './decoder.js';
import { floatReader } from './floats.js';
import { FrozenLinear } from './linear.js';
import { transposed } from './stored.js';
import { floatTensors, linearLayers, resolveNames, weightLayout, type LinearLayer } from './tensors.js';
import { variableFrom } from './variable.js';
import { decoderWeights } from './weights.js';

/** How to quantise the linear layers while loading. Defaults as in bitsandbytes. */
export interface LoadQuantization {
  readonly quantType: 'nf4' | 'fp4';
  readonly doubleQuant?: boolean;
  readonly blockSize?: number;
}

export interface LoadOptions {
  /** Undefined keeps float32 (or the 4-bit weights of a checkpoint that has them). */
  readonly quantization?: LoadQuantization | undefined;
  /**
   * Tells by a tensor's name whether it is trained itself: it is then a variable of floats, whatever the others are.
   * Default: none.
   */
  readonly trainable?: ((tensor: string) => boolean) | undefined;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Loads a Hugging Face model directory tensor by tensor: at no time is more than one tensor held as floats on the host.
 * Linear layers are `[out, in]` on the device, whatever the checkpoint's layout; embedding, norms and the output head
 * stay float32, as bitsandbytes leaves them.
 * @throws FormatError when config.json and the weights disagree; all missing and misshapen tensors are listed at once.
 */
export async function loadModel(directory: Directory, options: LoadOptions = {}): Promise<Decoder> {
  const config = await readModelConfig(directory);
  const checkpoint = await openCheckpoint(directory);
  try {
    const decoder = await loadDecoder(config, checkpoint, options);
    decoder.readFloats = floatReader(directory, config);
    return decoder;
  } finally {
    await checkpoint.close();
  }
}

/** The config.json of a model directory. @throws FormatError when there is none, or it cannot be used. */
export async function readModelConfig(directory: Directory): Promise<ModelConfig> {
  const json = await readJson(directory, 'config.json');
  if (json === undefined) throw await noModel(directory);
  return parseModelConfig(json, `${directory.name}/config.json`);
}

/** Most often an adapter is given where its model is meant. */
async function noModel(directory: Directory): Promise<FormatError> {
  const adapter = await readJson(directory, 'adapter_config.json').catch(() => undefined);
  if (adapter === undefined) return new FormatError(`${directory.name}: no config.json: not a model directory`);
  const base = isRecord(adapter) ? adapter['base_model_name_or_path'] : undefined;
  const named = typeof base === 'string' && base !== '' ? `, ${JSON.stringify(base)} by its adapter_config.json` : '';
  return new FormatError(
    `${directory.name}: an adapter, not a model: give the model that it was trained over${named}, and this folder as the adapter`,
  );
}

async function loadDecoder(config: ModelConfig, checkpoint: Checkpoint, options: LoadOptions): Promise<Decoder> {
  const names = resolveNames(config, checkpoint);
  const made: { dispose(): void }[] = [];
  const own = <T extends { dispose(): void }>(value: T): T => (made.push(value), value);
  let done = 0;
  const step = (): void => options.onProgress?.(++done, names.size);
  const read = async (name: string): Promise<Float32Array> => {
    const values = await checkpoint.readFloat32(names.get(name) as string);
    step();
    return values;
  };
  const trained = (name: string): boolean => options.trainable?.(name) ?? false;
  const tensor = <R extends tf.Rank>(name: string, made: tf.Tensor<R>): tf.Tensor<R> =>
    own(trained(name) ? variableFrom(made) : made);
  const dense = (name: string, values: Float32Array, shape: DenseWeight['shape']): DenseWeight => {
    const weight = uploadDense(values, shape);
    return { ...weight, values: tensor(name, weight.values) };
  };
  const linearWeight = async ({ name, shape }: LinearLayer): Promise<FrozenWeight> => {
    const stored = names.get(`${name}.weight`) as string;
    const packed = config.quantization === undefined ? undefined : await readQuantized(checkpoint, stored);
    if (packed !== undefined) {
      if (packed.shape.join() !== shape.join())
        throw new FormatError(
          `${checkpoint.name}: ${stored}: found [${packed.shape.join(', ')}], config.json says [${shape.join(', ')}]`,
        );
      step();
      return trained(`${name}.weight`)
        ? dense(`${name}.weight`, dequantize4bit(packed), shape)
        : uploadQuantized(packed);
    }
    const values = await read(`${name}.weight`);
    // bitsandbytes turns a Conv1D's weight as well before it quantises, and stores it so.
    const rows = weightLayout(config, name) === 'conv1d' ? transposed(values, shape[1], shape[0]) : values;
    if (options.quantization === undefined || trained(`${name}.weight`)) return dense(`${name}.weight`, rows, shape);
    const { quantType, doubleQuant = true, blockSize = 64 } = options.quantization;
    const { dtype } = checkpoint.info(stored);
    return uploadQuantized(
      quantize4bit(rows, shape, {
        quantType,
        doubleQuant,
        blockSize,
        dtype: dtype === 'F16' || dtype === 'BF16' ? dtype : 'F32',
      }),
    );
  };
  try {
    const floats = new Map<string, tf.Tensor>();
    for (const { name, shape, offset } of floatTensors(config)) {
      const values = await read(name);
      floats.set(
        name,
        tensor(name, tf.tensor(offset === 0 ? values : values.map((value) => value + offset), [...shape])),
      );
    }
    const linears = new Map<string, FrozenLinear>();
    for (const layer of linearLayers(config)) {
      const bias = layer.bias ? tensor(`${layer.name}.bias`, tf.tensor1d(await read(`${layer.name}.bias`))) : undefined;
      linears.set(layer.name, own(new FrozenLinear(layer.name, await linearWeight(layer), bias)));
    }
    return new Decoder(config, decoderWeights(config, linears, floats));
  } catch (error) {
    for (const value of made) value.dispose();
    throw error;
  }
}
