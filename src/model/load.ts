import * as tf from '@tensorflow/tfjs-core';
import { uploadDense, uploadQuantized, type FrozenWeight } from '../../kernels/index.js';
import { FormatError } from '../errors.js';
import { openCheckpoint, type Checkpoint } from '../io/checkpoint.js';
import { readJson, type Directory } from '../io/directory.js';
import { readQuantized } from '../quant/bitsandbytes.js';
import { quantize4bit } from '../quant/quantize.js';
import { parseModelConfig, type ModelConfig } from './config.js';
import { Decoder, type LayerNorms } from './decoder.js';
import { LINEAR_ROLES } from './families/family.js';
import { FrozenLinear } from './linear.js';
import { variableFrom } from './variable.js';

/** How to quantise the linear layers while loading. Defaults as in bitsandbytes. */
export interface LoadQuantization {
  readonly quantType: 'nf4' | 'fp4';
  readonly doubleQuant?: boolean;
  readonly blockSize?: number;
}

export interface LoadOptions {
  /** Undefined keeps float32 (or the 4-bit weights of a checkpoint that has them). */
  readonly quantization?: LoadQuantization | undefined;
  /** Makes every weight a variable, for training all of them. Only without quantisation. */
  readonly trainable?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Loads a Hugging Face model directory tensor by tensor: at no time is more than one tensor held as floats on the host.
 * Linear layers are `[out, in]`; embedding, norms and the output head stay float32, as bitsandbytes leaves them.
 * @throws FormatError when config.json and the weights disagree; all missing and misshapen tensors are listed at once.
 */
export async function loadModel(directory: Directory, options: LoadOptions = {}): Promise<Decoder> {
  const config = await readModelConfig(directory);
  const checkpoint = await openCheckpoint(directory);
  try {
    return await loadDecoder(config, checkpoint, options);
  } finally {
    await checkpoint.close();
  }
}

/** The config.json of a model directory. @throws FormatError when there is none, or it cannot be used. */
export async function readModelConfig(directory: Directory): Promise<ModelConfig> {
  const json = await readJson(directory, 'config.json');
  if (json === undefined) throw new FormatError(`${directory.name}: no config.json: not a model directory`);
  return parseModelConfig(json, `${directory.name}/config.json`);
}

async function loadDecoder(config: ModelConfig, checkpoint: Checkpoint, options: LoadOptions): Promise<Decoder> {
  const names = resolveNames(config, checkpoint);
  const made: { dispose(): void }[] = [];
  const own = <T extends { dispose(): void }>(value: T): T => (made.push(value), value);
  const total = names.size;
  let done = 0;
  const step = (): void => options.onProgress?.(++done, total);
  const read = async (name: string): Promise<Float32Array> => {
    const values = await checkpoint.readFloat32(names.get(name) as string);
    step();
    return values;
  };
  const vector = async (name: string): Promise<tf.Tensor1D> => {
    const tensor = tf.tensor1d(await read(name));
    return own(options.trainable === true ? (variableFrom(tensor)) : tensor);
  };
  const dense = (values: Float32Array, shape: readonly [number, number]): FrozenWeight => {
    const weight = uploadDense(values, shape);
    const kept = options.trainable === true ? { ...weight, values: variableFrom(weight.values) } : weight;
    own(kept.values);
    return kept;
  };
  try {
    const { modules } = config.family;
    const shapes = linearShapes(config);
    const table = dense(await read(`${modules.embedding}.weight`), [config.vocabSize, config.hiddenSize]);
    const linears = new Map<string, FrozenLinear>();
    const norms: LayerNorms[] = [];
    for (let i = 0; i < config.numLayers; i++) {
      const prefix = modules.layer(i);
      for (const role of LINEAR_ROLES) {
        const name = `${prefix}.${modules.linears[role]}`;
        const stored = names.get(`${name}.weight`) as string;
        const packed = config.quantization === undefined ? undefined : await readQuantized(checkpoint, stored);
        const { quantization } = options;
        let weight: FrozenWeight;
        if (packed !== undefined) {
          weight = uploadQuantized(packed);
          step();
        } else if (quantization !== undefined) {
          const dtype = checkpoint.info(stored).dtype;
          weight = uploadQuantized(
            quantize4bit(await read(`${name}.weight`), shapes[role], {
              quantType: quantization.quantType,
              doubleQuant: quantization.doubleQuant ?? true,
              blockSize: quantization.blockSize ?? 64,
              dtype: dtype === 'F16' || dtype === 'BF16' ? dtype : 'F32',
            }),
          );
        } else {
          weight = dense(await read(`${name}.weight`), shapes[role]);
        }
        const bias = names.has(`${name}.bias`) ? await vector(`${name}.bias`) : undefined;
        linears.set(name, own(new FrozenLinear(name, weight, bias)));
      }
      norms.push({
        attention: await vector(`${prefix}.${modules.attentionNorm}.weight`),
        mlp: await vector(`${prefix}.${modules.mlpNorm}.weight`),
        ...(config.family.qkNorm
          ? { query: await vector(`${prefix}.${modules.queryNorm}.weight`), key: await vector(`${prefix}.${modules.keyNorm}.weight`) }
          : {}),
      });
    }
    const finalNorm = await vector(`${modules.finalNorm}.weight`);
    const head = config.tiedHead ? undefined : dense(await read(`${modules.head}.weight`), [config.vocabSize, config.hiddenSize]);
    if (table.kind !== 'dense') throw new Error('the embedding is always dense');
    return new Decoder(config, { embedding: table.values, linears, norms, finalNorm, head });
  } catch (error) {
    for (const value of made) value.dispose();
    throw error;
  }
}

/** `[out, in]` of each linear layer. */
export function linearShapes(config: ModelConfig): Record<(typeof LINEAR_ROLES)[number], readonly [number, number]> {
  const { hiddenSize: h, intermediateSize: f, numHeads, numKvHeads, headDim } = config;
  const [q, kv] = [numHeads * headDim, numKvHeads * headDim];
  return { q: [q, h], k: [kv, h], v: [kv, h], o: [h, q], gate: [f, h], up: [f, h], down: [h, f] };
}

/** Every tensor the decoder needs with its shape. */
export function expectedTensors(config: ModelConfig): Map<string, readonly number[]> {
  const { modules, qkNorm } = config.family;
  const shapes = linearShapes(config);
  const expected = new Map<string, readonly number[]>([
    [`${modules.embedding}.weight`, [config.vocabSize, config.hiddenSize]],
    [`${modules.finalNorm}.weight`, [config.hiddenSize]],
  ]);
  if (!config.tiedHead) expected.set(`${modules.head}.weight`, [config.vocabSize, config.hiddenSize]);
  for (let i = 0; i < config.numLayers; i++) {
    const prefix = modules.layer(i);
    for (const role of LINEAR_ROLES) {
      const name = `${prefix}.${modules.linears[role]}`;
      expected.set(`${name}.weight`, shapes[role]);
      const biased = role === 'o' ? config.bias.output : role === 'q' || role === 'k' || role === 'v' ? config.bias.qkv : config.bias.mlp;
      if (biased) expected.set(`${name}.bias`, [shapes[role][0]]);
    }
    for (const norm of [modules.attentionNorm, modules.mlpNorm]) expected.set(`${prefix}.${norm}.weight`, [config.hiddenSize]);
    if (qkNorm) for (const norm of [modules.queryNorm, modules.keyNorm]) expected.set(`${prefix}.${norm}.weight`, [config.headDim]);
  }
  return expected;
}

/**
 * Where each expected tensor lies in the checkpoint. A tied model may store only one of embedding and head, and some files say so
 * in their metadata. @throws FormatError listing everything missing or misshapen.
 */
export function resolveNames(config: ModelConfig, checkpoint: Checkpoint): Map<string, string> {
  const { modules } = config.family;
  const found = new Map<string, string>();
  const problems: string[] = [];
  for (const [name, shape] of expectedTensors(config)) {
    const alias = checkpoint.metadata[name] ?? (config.tiedHead && name === `${modules.embedding}.weight` ? `${modules.head}.weight` : undefined);
    const stored = checkpoint.has(name) ? name : alias !== undefined && checkpoint.has(alias) ? alias : undefined;
    if (stored === undefined) {
      problems.push(`${name}: missing, expected [${shape.join(', ')}]`);
      continue;
    }
    found.set(name, stored);
    const quantised = config.quantization !== undefined && checkpoint.has(`${stored}.absmax`);
    const actual = checkpoint.info(stored).shape;
    if (!quantised && !tf.util.arraysEqual([...actual], [...shape])) {
      problems.push(`${name}: found [${actual.join(', ')}], config.json says [${shape.join(', ')}]`);
    }
  }
  if (problems.length > 0) throw new FormatError(`${checkpoint.name}: the weights do not fit config.json: ${problems.join('; ')}`);
  return found;
}
