import type { FloatDtype } from '../../kernels/types.js';
import { FormatError } from '../errors.js';
import type { Checkpoint } from '../io/checkpoint.js';
import { readText, type Directory } from '../io/directory.js';
import { editJson } from '../io/json-edit.js';
import { isRecord, parseJson } from '../io/json.js';
import { byteLength, mismatches, type SafetensorsDtype } from '../io/safetensors-header.js';
import { toFloat32 } from '../io/safetensors.js';
import { transposed } from '../model/stored.js';
import { quantizedParts, quantizedShape, readQuantized } from '../quant/bitsandbytes.js';
import { dequantize4bit } from '../quant/quantize.js';
import { copiedFiles } from './copied-files.js';
import type { Fusion } from './fusion.js';
import { encodeFloats, floatName } from './floats.js';
import type { OutputFile } from './output.js';
import { checkpointFiles, DEFAULT_SHARD_BYTES, type TensorGroup } from './shards.js';

export interface MergeOptions {
  /** Of all float tensors; undefined keeps what each is stored as (4-bit weights: what they were before). */
  readonly dtype?: FloatDtype | undefined;
  readonly maxShardBytes?: number | undefined;
}

/** A tensor of the merged checkpoint and how it comes about. */
interface MergedTensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly read: () => Promise<Uint8Array>;
}

/** Model types whose linear layers store `[in, out]` (transformers' Conv1D). */
const CONV1D_TYPES = new Set(['gpt2', 'openai-gpt', 'imagegpt', 'decision_transformer']);

/**
 * The base model with the adapter in its weights, tensor by tensor from the base's own files: float weights, tokenizer, settings. A
 * 4-bit base is dequantised first and its `quantization_config` dropped, so nothing is quantised twice.
 * The checkpoint must stay open until the files are written.
 * @throws FormatError listing every module that the base does not have, or has in another shape.
 */
export async function mergedFiles(base: Directory, checkpoint: Checkpoint, fusion: Fusion, options: MergeOptions = {}): Promise<OutputFile[]> {
  const name = `${base.name}/config.json`;
  const configText = await readText(base, 'config.json');
  if (configText === undefined) throw new FormatError(`${base.name}: no config.json: not a model directory`);
  const config = parseJson(configText, name);
  if (!isRecord(config)) throw new FormatError(`${name}: must be a JSON object`);
  const isConv1D = CONV1D_TYPES.has(String(config['model_type']));
  const tensors = await planTensors(checkpoint, fusion, isConv1D, options.dtype);
  const groups = tensors.map(({ name: tensor, dtype, shape, read }): TensorGroup => ({
    names: [tensor],
    size: byteLength(dtype, shape) ?? 0,
    prepare: () => Promise.resolve([{ name: tensor, dtype, shape, bytes: read }]),
  }));
  const changes: Record<string, unknown> = { quantization_config: undefined };
  const dtypeKey = 'dtype' in config ? 'dtype' : 'torch_dtype';
  if (options.dtype !== undefined) changes[dtypeKey] = floatName(options.dtype);
  return [
    ...checkpointFiles(groups, options.maxShardBytes ?? DEFAULT_SHARD_BYTES),
    ...(await copiedFiles(base)),
    { path: 'config.json', content: editJson(configText, changes, name) },
  ];
}

async function planTensors(checkpoint: Checkpoint, fusion: Fusion, isConv1D: boolean, forced: FloatDtype | undefined): Promise<MergedTensor[]> {
  const problems: string[] = [];
  const moduleOf = new Map<string, string>();
  for (const module of fusion.modules.keys()) {
    const stored = storedName(checkpoint, `${module}.weight`);
    if (stored === undefined) problems.push(`${module}: the base stores no ${module}.weight${module.endsWith('lm_head') ? ' (tied to the embedding?)' : ''}`);
    else moduleOf.set(stored, module);
  }
  const replaced = new Map<string, string>();
  for (const tensor of fusion.replacements.keys()) {
    const stored = storedName(checkpoint, tensor);
    if (stored === undefined) problems.push(`${tensor}: the base stores none (tied to another?)`);
    else replaced.set(stored, tensor);
  }
  const parts = quantizedParts(checkpoint);
  const planned: MergedTensor[] = [];
  for (const name of checkpoint.names()) {
    if (parts.has(name)) continue;
    const info = checkpoint.info(name);
    const packed = await quantizedShape(checkpoint, name);
    const module = moduleOf.get(name);
    // bitsandbytes turns a Conv1D weight over before it packs it.
    const conv1D = isConv1D && (module !== undefined || packed !== undefined) && info.shape.length === 2 && !/(?:^|\.)w[tp]e\.weight$/.test(name);
    const shape = packed === undefined ? info.shape : conv1D ? [...packed.shape].reverse() : packed.shape;
    const natural = packed?.dtype ?? info.dtype;
    const dtype = forced !== undefined && isFloat(natural) ? forced : natural;
    const replacement = fusion.replacements.get(replaced.get(name) ?? '');
    const oriented = conv1D ? [...shape].reverse() : shape;
    const wanted = replacement?.shape ?? (module === undefined ? undefined : fusion.modules.get(module));
    const found = replacement === undefined ? oriented : shape;
    if (wanted !== undefined && wanted.join() !== found.join()) {
      problems.push(`${module ?? name}: the adapter is made for [${wanted.join(', ')}], the base has [${found.join(', ')}]`);
    }
    const floats = async (): Promise<Float32Array> => {
      if (replacement !== undefined) return toFloat32(replacement, name);
      const q = packed === undefined ? undefined : await readQuantized(checkpoint, name);
      if (q === undefined && (module === undefined || !conv1D)) {
        const values = await checkpoint.readFloat32(name);
        return module === undefined ? values : fusion.fuseWeight(module, values);
      }
      const [rows = 0, columns = 0] = shape;
      // Here [out, in] whatever the base has.
      const values = q === undefined ? transposed(await checkpoint.readFloat32(name), rows, columns) : dequantize4bit(q);
      const fused = module === undefined ? values : fusion.fuseWeight(module, values);
      return conv1D ? transposed(fused, columns, rows) : fused;
    };
    const untouched = packed === undefined && module === undefined && replacement === undefined && dtype === info.dtype;
    const read = async (): Promise<Uint8Array> => (untouched ? (await checkpoint.read(name)).bytes : encodeFloats(await floats(), dtype as FloatDtype, name));
    if (!untouched && !isFloat(dtype)) problems.push(`${name}: found dtype ${dtype}, allowed F32, F16, BF16`);
    planned.push({ name, dtype, shape, read });
  }
  if (problems.length > 0) throw mismatches(`${checkpoint.name}: the adapter does not fit`, problems);
  return planned;
}

/** The name itself, or without the first part: checkpoints of a bare model leave out `transformer.` or `model.`. */
function storedName(checkpoint: Checkpoint, name: string): string | undefined {
  const bare = name.slice(name.indexOf('.') + 1);
  return [name, bare].find((candidate) => checkpoint.has(candidate));
}

function isFloat(dtype: SafetensorsDtype): dtype is FloatDtype {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}
