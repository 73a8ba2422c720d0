import type { FloatDtype, Packed4bit, QuantType } from '../../kernels/types.js';
import { ConfigError, FormatError } from '../errors.js';
import type { Checkpoint } from '../io/weights-file.js';
import { readText, type Directory } from '../io/directory.js';
import { editJson } from '../io/json-edit.js';
import { byteLength } from '../io/safetensors-header.js';
import { readModelConfig } from '../model/load.js';
import { transposed } from '../model/stored.js';
import { linearLayers, resolveNames, weightLayout, type LinearLayer } from '../model/tensors.js';
import { writeQuantized } from '../quant/bitsandbytes.js';
import { CODES } from '../quant/nf4.js';
import { quantize4bit, quantizeScales, type QuantizeOptions } from '../quant/quantize.js';
import { copiedFiles } from './copied-files.js';
import type { FloatName } from './floats.js';
import type { OutputFile } from './output.js';
import { checkpointFiles, DEFAULT_SHARD_BYTES, type PlannedTensor, type TensorGroup } from './shards.js';

/** Names as in transformers' BitsAndBytesConfig, where it has them. */
export interface QuantizeCheckpointOptions {
  readonly quantType: QuantType;
  readonly doubleQuant: boolean;
  /** Values a scale; bitsandbytes knows the powers of two from 32 to 4096. */
  readonly blockSize: number;
  /** What Python computes with; nothing in the weights depends on it. */
  readonly computeDtype: FloatName;
  /** Modules that stay as they are, by the end or any run of parts of their path. The output layer always does. */
  readonly skipModules: readonly string[];
  readonly maxShardBytes?: number | undefined;
}

const HEAD = 'lm_head';

/**
 * The model with its linear layers in 4 bits, as transformers and bitsandbytes save it, tensor by tensor: the bytes are
 * theirs. Each weight is read twice, once for its scales, once for its codes, so that no more than one is in memory,
 * and the scales of a shard. The checkpoint must stay open until the files are written.
 * @throws ConfigError for skipped modules that do not exist; FormatError when the model is unknown, broken or quantised
 * already.
 */
export async function quantizedFiles(
  base: Directory,
  checkpoint: Checkpoint,
  options: QuantizeCheckpointOptions,
): Promise<OutputFile[]> {
  const config = await readModelConfig(base);
  if (config.quantization !== undefined)
    throw new FormatError(`${base.name}/config.json: quantization_config: the model is quantised already`);
  const names = resolveNames(config, checkpoint);
  const layers = linearLayers(config);
  checkSkips(layers, options);
  const weights = new Map<string, QuantizedTensor>();
  for (const layer of layers) {
    if (options.skipModules.some((skip) => matchesModule(layer.name, skip))) continue;
    const stored = names.get(`${layer.name}.weight`) as string;
    weights.set(stored, { stored, shape: layer.shape, turned: weightLayout(config, layer.name) === 'conv1d' });
  }
  const groups = checkpoint.names().map((name) => {
    const weight = weights.get(name);
    return weight === undefined ? copied(checkpoint, name) : quantized(checkpoint, weight, options);
  });
  // Files may say in their metadata that a tensor is stored under another one's name; what is written says nothing
  // there.
  for (const [alias, source] of Object.entries(checkpoint.metadata))
    if (checkpoint.has(source) && !checkpoint.has(alias)) groups.push(copied(checkpoint, source, alias));
  const name = `${base.name}/config.json`;
  const text = editJson(
    (await readText(base, 'config.json')) as string,
    { quantization_config: quantizationConfig(options) },
    name,
  );
  return [
    ...checkpointFiles(groups, options.maxShardBytes ?? DEFAULT_SHARD_BYTES),
    ...(await copiedFiles(base)),
    // Python wants a float here and takes no integer for one.
    { path: 'config.json', content: text.replace('"llm_int8_threshold": 6,', '"llm_int8_threshold": 6.0,') },
  ];
}

interface QuantizedTensor {
  /** Name in the checkpoint. */
  readonly stored: string;
  /** `[out, in]`. */
  readonly shape: readonly [number, number];
  /** Whether the checkpoint has it as `[in, out]`; bitsandbytes packs `[out, in]`. */
  readonly turned: boolean;
}

function copied(checkpoint: Checkpoint, source: string, name = source): TensorGroup {
  const { dtype, shape } = checkpoint.info(source);
  const bytes = async (): Promise<Uint8Array> => (await checkpoint.read(source)).bytes;
  return {
    names: [name],
    size: byteLength(dtype, shape) ?? 0,
    prepare: () => Promise.resolve([{ name, dtype, shape, bytes }]),
  };
}

function quantized(
  checkpoint: Checkpoint,
  { stored, shape, turned }: QuantizedTensor,
  options: QuantizeCheckpointOptions,
): TensorGroup {
  const { dtype } = checkpoint.info(stored);
  const [out, inner] = shape;
  const quantize: QuantizeOptions = { ...options, dtype: dtype === 'F16' || dtype === 'BF16' ? dtype : 'F32' };
  const read = async (): Promise<Float32Array> => {
    const values = await checkpoint.readFloat32(stored);
    return turned ? transposed(values, inner, out) : values;
  };
  // A weight of two values has the same parts.
  const small = quantize4bit(Float32Array.of(0, 0), [2], { ...quantize, blockSize: 2 });
  return {
    names: Object.keys(writeQuantized(stored, small)),
    size: (out * inner) / 2 + ((out * inner) / options.blockSize) * (options.doubleQuant ? 1 : 4) + 1500,
    async prepare() {
      const header = withScales(await read(), shape, quantize, stored);
      const parts = writeQuantized(stored, header);
      return Object.entries(parts).map(([name, part]): PlannedTensor => {
        if (name !== stored)
          return { name, dtype: part.dtype, shape: part.shape, bytes: () => Promise.resolve(part.bytes) };
        const bytes = async (): Promise<Uint8Array> => quantize4bit(await read(), shape, quantize).packed;
        return { name, dtype: part.dtype, shape: [Math.ceil((out * inner) / 2), 1], bytes };
      });
    },
  };
}

/** Everything but the codes. */
function withScales(
  values: Float32Array,
  shape: readonly number[],
  options: QuantizeOptions,
  where: string,
): Packed4bit {
  try {
    const absmax = quantizeScales(values, options);
    const { quantType, blockSize = 64, dtype = 'F32' as FloatDtype } = options;
    return { quantType, shape, blockSize, dtype, packed: new Uint8Array(), code: CODES[quantType], absmax };
  } catch (error) {
    if (error instanceof FormatError) throw new FormatError(`${where}: ${error.message}`);
    throw error;
  }
}

function checkSkips(layers: readonly LinearLayer[], { skipModules }: QuantizeCheckpointOptions): void {
  const unknown = skipModules.filter((skip) => skip !== HEAD && !layers.some(({ name }) => matchesModule(name, skip)));
  if (unknown.length > 0) {
    const last = [...new Set(layers.map(({ name }) => name.slice(name.lastIndexOf('.') + 1)))];
    throw new ConfigError(
      `--skip-modules: no linear layer is called ${unknown.join(', ')}; the model has ${last.join(', ')}`,
    );
  }
}

function matchesModule(path: string, part: string): boolean {
  return `.${path}.`.includes(`.${part}.`);
}

/** As BitsAndBytesConfig of transformers 5 writes itself; null stands for its own choice, which is the output layer. */
function quantizationConfig({
  quantType,
  doubleQuant,
  computeDtype,
  skipModules,
}: QuantizeCheckpointOptions): Record<string, unknown> {
  const skipped = skipModules.filter((name) => name !== HEAD);
  return {
    _load_in_4bit: true,
    _load_in_8bit: false,
    bnb_4bit_compute_dtype: computeDtype,
    bnb_4bit_quant_storage: 'uint8',
    bnb_4bit_quant_type: quantType,
    bnb_4bit_use_double_quant: doubleQuant,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: skipped.length === 0 ? null : [HEAD, ...skipped],
    llm_int8_threshold: 6,
    load_in_4bit: true,
    load_in_8bit: false,
    quant_method: 'bitsandbytes',
  };
}
