import type { FloatDtype } from '../../kernels/types.js';
import { FormatError } from '../errors.js';
import type { Checkpoint } from '../io/weights-file.js';
import { readText, type Directory } from '../io/directory.js';
import { editJson } from '../io/json-edit.js';
import { isRecord, parseJson } from '../io/json.js';
import { byteLength } from '../io/safetensors-header.js';
import { parseModelConfig } from '../model/config.js';
import { isModelType } from '../model/families/registry.js';
import { copiedFiles } from './copied-files.js';
import type { Fusion } from './weight-merge.js';
import { floatName } from './floats.js';
import { planMerge, type MergeBase } from './merge-plan.js';
import type { OutputFile } from './output.js';
import { checkpointFiles, DEFAULT_SHARD_BYTES, type TensorGroup } from './shards.js';

/** How a merged model is written. */
export interface MergeOptions {
  /** Of all float tensors; undefined keeps what each is stored as (4-bit weights: what they were before). */
  readonly dtype?: FloatDtype | undefined;
  readonly maxShardBytes?: number | undefined;
}

/** Model types whose linear layers store `[in, out]` (transformers' Conv1D). */
const CONV1D_TYPES = new Set(['gpt2', 'openai-gpt', 'imagegpt', 'decision_transformer']);

/**
 * The base model with the adapter in its weights, tensor by tensor from the base's own files: float weights, tokenizer,
 * settings. A 4-bit base is dequantised first and its `quantization_config` dropped, so nothing is quantised twice.
 * The checkpoint must stay open until the files are written.
 * @throws FormatError listing every module that the base does not have, or has in another shape.
 */
export async function mergedFiles(
  base: Directory,
  checkpoint: Checkpoint,
  fusion: Fusion,
  options: MergeOptions = {},
): Promise<OutputFile[]> {
  const name = `${base.name}/config.json`;
  const configText = await readText(base, 'config.json');
  if (configText === undefined) throw new FormatError(`${base.name}: no config.json: not a model directory`);
  const config = parseJson(configText, name);
  if (!isRecord(config)) throw new FormatError(`${name}: must be a JSON object`);
  const isConv1D = CONV1D_TYPES.has(String(config['model_type']));
  const { tensors, untied, vocabSize } = await planMerge(
    checkpoint,
    fusion,
    { isConv1D, ...tables(config, name) },
    options.dtype,
  );
  const groups = tensors.map(({ name: tensor, dtype, shape, read }): TensorGroup => ({
    names: [tensor],
    size: byteLength(dtype, shape) ?? 0,
    prepare: () => Promise.resolve([{ name: tensor, dtype, shape, bytes: read }]),
  }));
  const changes: Record<string, unknown> = { quantization_config: undefined };
  const dtypeKey = 'dtype' in config ? 'dtype' : 'torch_dtype';
  if (options.dtype !== undefined) changes[dtypeKey] = floatName(options.dtype);
  if (untied) changes['tie_word_embeddings'] = false;
  if (vocabSize !== undefined) changes['vocab_size'] = vocabSize;
  return [
    ...checkpointFiles(groups, options.maxShardBytes ?? DEFAULT_SHARD_BYTES),
    ...(await copiedFiles(base)),
    { path: 'config.json', content: editJson(configText, changes, name) },
  ];
}

/** Where a model of a supported family has its embedding and output layer. */
function tables(config: Readonly<Record<string, unknown>>, name: string): Pick<MergeBase, 'tied' | 'storedHead'> {
  if (!isModelType(config['model_type'])) return { tied: undefined };
  const { tiedHead, family } = parseModelConfig(config, name);
  const { embedding, head, storedHead: stored } = family.modules;
  return {
    tied: tiedHead ? { embedding, head } : undefined,
    storedHead: stored === undefined ? undefined : { head, stored },
  };
}
