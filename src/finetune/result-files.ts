import type { Adapter } from '../adapters/adapter.js';
import { adapterFiles } from '../adapters/peft/files.js';
import { isPissa } from '../adapters/lora/plain-form.js';
import { definitionOf } from '../adapters/registry.js';
import { serializeConfig } from '../config/load.js';
import { hubDataset } from '../config/paths.js';
import type { RunConfig } from '../config/schema.js';
import { sourcesOf } from '../data/parts.js';
import type { DataSplits } from '../data/split.js';
import type { Device } from '../device/device.js';
import { FLOAT_NAMES } from '../export/floats.js';
import { trainedModelFiles } from '../export/trained-model.js';
import type { Directory } from '../io/directory.js';
import type { Decoder } from '../model/decoder.js';
import { CARD_FILE, modelCard } from '../record/card.js';
import { hashRowFiles } from '../record/hashes.js';
import { makeRecord } from '../record/make.js';
import { RECORD_FILE, serializeRecord } from '../record/record.js';
import { TOKENIZER_FILES } from '../tokenizer/tokenizer.js';
import { baseOf, CONFIG_FILE } from './options.js';
import type { CheckedRequest, FinetuneResult } from './request.js';

/** The record of this run and its model card. */
export async function describeRun(
  request: CheckedRequest,
  { decoder, data, device }: { readonly decoder: Decoder; readonly data: DataSplits; readonly device: Device },
  { training, counts, test }: Pick<FinetuneResult, 'training' | 'counts' | 'test'>,
): Promise<Record<string, string>> {
  const { config, model, data: sources } = request;
  const parts = (['train', 'validation', 'test'] as const).flatMap((part) => {
    const set = data[part];
    // Rows split off the training rows have no files of their own.
    const files = sources[part];
    return set === undefined ? [] : [{ part, stats: set.stats, sources: files === undefined ? [] : sourcesOf(files) }];
  });
  const { method, init_from: initFrom } = config.adapter;
  const fresh = initFrom === undefined;
  const record = await makeRecord({
    ...{ config, model, decoder, device, counts, base: baseOf(config) },
    data: await Promise.all(
      parts.map(async ({ part, stats, sources: files }) => ({ part, stats, files: await hashRowFiles(files) })),
    ),
    // What PiSSA learns over 4 bits is saved for the base as it was, whose answers differ from those of the training.
    prompts:
      isPissa({ initLoraWeights: fresh ? config.adapter.init_lora_weights : true }) && config.quantization.load_in_4bit
        ? []
        : (data.validation ?? data.test ?? data.train).examples,
    results: {
      steps: training.steps,
      train_loss: training.trainLoss,
      eval_loss: training.best?.eval_loss,
      test_loss: test?.loss,
    },
  });
  const { producesModel, notOfPeft } = definitionOf(method);
  const loads = producesModel ? 'model' : notOfPeft === undefined ? 'peft' : 'own';
  return {
    [RECORD_FILE]: serializeRecord(record),
    [CARD_FILE]: modelCard(record, config, { name: method, loads }, hubDatasets(config)),
  };
}

/** Ids on the Hub of the data sets among the training rows, without revisions. */
function hubDatasets({ data: { train } }: RunConfig): string[] {
  const paths = [train].flat().map((entry) => (typeof entry === 'string' ? entry : entry.path));
  return [...new Set(paths.flatMap((path) => hubDataset(path)?.split('@')[0] ?? []))];
}

/** The trained adapter or model, with the tokenizer's files as they were found and the config. */
export async function resultFiles(
  { config, model }: CheckedRequest,
  adapter: Adapter,
): Promise<Record<string, Uint8Array | string>> {
  const { method, save_dtype: dtype } = config.adapter;
  const trained = definitionOf(method).producesModel
    ? await trainedModelFiles(model, adapter, dtype === 'auto' ? undefined : FLOAT_NAMES[dtype])
    : await adapterFiles(adapter, baseOf(config));
  return {
    ...trained,
    [CONFIG_FILE]: serializeConfig(config, config.training.output_dir),
    ...(await tokenizerFiles(model)),
  };
}

/** Those of a model directory, so that what is saved encodes as it was trained. */
export async function tokenizerFiles(model: Directory): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for (const name of TOKENIZER_FILES) {
    const source = await model.open(name);
    if (source === undefined) continue;
    try {
      // The bytes as they are: a copy outlives the source.
      files[name] = (await source.read(0, source.size)).slice();
    } finally {
      await source.close();
    }
  }
  return files;
}
