import { readAdapterConfig } from '../adapters/peft/files.js';
import type { AdapterSettings } from '../adapters/registry.js';
import { adapterSettings, contextOf } from '../adapters/settings.js';
import type { RunConfig } from '../config/schema.js';
import type { DataOptions } from '../data/options.js';
import { partOptions, ROW_OPTIONS, type RowOptions } from '../data/parts.js';
import type { Device, Host } from '../device/device.js';
import { ConfigError } from '../errors.js';
import type { Directory } from '../io/directory.js';
import type { ModelConfig } from '../model/config.js';
import type { LoadQuantization } from '../model/load.js';
import { currentLimits } from '../plan/limits.js';
import { staticBytes, type StaticBytes } from '../plan/memory.js';
import { planRun, type RunMemory } from '../plan/plan-run.js';
import type { Objective } from '../train/objectives/objective.js';

export const CONFIG_FILE = 'config.yaml';

/** `config.quantization` as the loader takes it. */
export function quantizationOf({ quantization: q }: Pick<RunConfig, 'quantization'>): LoadQuantization | undefined {
  if (!q.load_in_4bit) return undefined;
  return {
    quantType: q.bnb_4bit_quant_type,
    doubleQuant: q.bnb_4bit_use_double_quant,
    blockSize: q.bnb_4bit_blocksize,
  };
}

/** Name and revision of the base model as adapter_config.json gives them: a Hub id there has no `@revision`. */
export function baseOf({ model, model_revision: given }: Pick<RunConfig, 'model' | 'model_revision'>): {
  model: string;
  revision?: string;
} {
  const [, id = model, written] = /^([\w.-]+(?:\/[\w.-]+)?)@(.+)$/.exec(model) ?? [];
  const revision = given ?? written;
  return { model: id, ...(revision === undefined ? {} : { revision }) };
}

/** What decides the base model on the device. */
export function baseKeyOf(
  { model, model_revision: revision, quantization, adapter }: RunConfig,
  trained = false,
): string {
  return JSON.stringify([model, revision, quantization, trained ? adapter : undefined]);
}

/** What decides which files a run reads. */
export function inputsKeyOf({ model, model_revision: revision, data, adapter }: RunConfig): string {
  return JSON.stringify([model, revision, data, adapter.init_from, adapter.added_tokens]);
}

/** Longest example: `max_length`, or the model's context where that is shorter. */
export function effectiveMaxLength(maxLength: number, context: number, note?: (text: string) => void): number {
  if (maxLength <= context) return maxLength;
  note?.(`data.max_length ${maxLength} is more than the model's context: ${context} is taken`);
  return context;
}

/** The entries of `data.train`, a path alone as one without options. */
function trainEntries({ data: { train } }: Pick<RunConfig, 'data'>): RowOptions[] {
  return [train].flat().map((entry) => {
    if (typeof entry === 'string') return {};
    return Object.fromEntries(ROW_OPTIONS.flatMap((key) => (entry[key] === undefined ? [] : [[key, entry[key]]])));
  });
}

/**
 * How rows are read that are like the training rows: the options of `data`, or of the first entry of `data.train` where
 * it has its own.
 * @param note is told where the entries differ.
 */
export function rowOptionsOf(config: Pick<RunConfig, 'data'>, note?: (text: string) => void): RowOptions {
  const whole: RowOptions = Object.fromEntries(
    ROW_OPTIONS.flatMap((key) => (config.data[key] === undefined ? [] : [[key, config.data[key]]])),
  );
  const entries = trainEntries(config).map((own) => partOptions(whole, own));
  const [first = whole] = entries;
  if (new Set(entries.map(({ chat_template: template }) => template)).size > 1)
    note?.('data.train: the entries have different chat templates: that of the first is saved with the adapter');
  return first;
}

/**
 * How the rows of a run are read.
 * @throws ConfigError for packed rows with vectors in front of every row, which only the first sample of a row would
 * see.
 */
export function dataOptionsOf(
  config: RunConfig,
  model: ModelConfig,
  settings: AdapterSettings,
  note?: (text: string) => void,
): DataOptions {
  const { train: _train, validation: _validation, test: _test, ...options } = config.data;
  const context = contextOf(model, settings);
  if (options.packing && context < model.maxPositions)
    throw new ConfigError(
      `data.packing: ${settings.method} puts vectors in front of every row, which only the first of several samples in a row would see`,
    );
  return {
    ...options,
    max_length: effectiveMaxLength(config.data.max_length, context, note),
    seed: config.training.seed,
  };
}

/**
 * Memory of a run on an open device, from the config, the model's config.json and that of the adapter that it goes on
 * from.
 * @throws ConfigError when the adapter's targets match nothing.
 */
export async function planFor(request: {
  readonly config: RunConfig;
  readonly model: ModelConfig;
  readonly initFrom?: Directory | undefined;
  readonly device: Device;
  readonly host: Host;
  /** As if it had so many. */
  readonly threads?: number;
  /** In place of that of the config. */
  readonly objective?: Objective | undefined;
}): Promise<RunMemory> {
  const { config, model, initFrom, device, host, threads, objective } = request;
  const adapter = adapterSettings(
    config.adapter,
    initFrom === undefined ? undefined : await readAdapterConfig(initFrom),
  );
  return planRun({
    config,
    model,
    backend: device.backend,
    threads,
    quantization: quantizationOf(config),
    maxLength: effectiveMaxLength(config.data.max_length, contextOf(model, adapter)),
    adapter,
    objective,
    limits: currentLimits(device, host.memory?.()),
  });
}

/** Bytes of the parameters that a run trains, as float32, and of what its optimiser keeps of them. @throws ConfigError when the adapter's targets match nothing. */
export async function trainedBytesOf({
  config,
  model,
  initFrom,
  backend,
}: {
  readonly config: RunConfig;
  readonly model: ModelConfig;
  readonly initFrom?: Directory | undefined;
  readonly backend: string;
}): Promise<Pick<StaticBytes, 'trained' | 'slots'>> {
  const adapter = adapterSettings(
    config.adapter,
    initFrom === undefined ? undefined : await readAdapterConfig(initFrom),
  );
  const { optim, momentum } = config.training;
  return staticBytes({ backend, model, adapter, quantization: quantizationOf(config), optim, momentum });
}
