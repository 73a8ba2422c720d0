import type { Adapter } from './adapters/adapter.js';
import { countParameters, type ParameterCounts } from './adapters/counts.js';
import { grownVocabulary, withTokenRows } from './adapters/lora-tokens.js';
import { adapterFiles, loadAdapter, readAdapterConfig } from './adapters/peft-files.js';
import { definitionOf, type AdapterSettings } from './adapters/registry.js';
import { adapterSettings, contextOf, trainedBase } from './adapters/settings.js';
import { serializeConfig } from './config/load.js';
import type { RunConfig } from './config/schema.js';
import { mixOf } from './data/mix.js';
import type { DataOptions } from './data/options.js';
import { sourcesOf, type DataPart } from './data/parts.js';
import type { DataSource } from './data/row.js';
import { loadSplits, type DataSplits } from './data/split.js';
import type { Device, Host } from './device/device.js';
import { openDevice } from './device/open.js';
import { ConfigError, LowrankError } from './errors.js';
import { FLOAT_NAMES } from './export/floats.js';
import { trainedModelFiles } from './export/trained-model.js';
import { evaluateLoss, type LossResult } from './eval/loss.js';
import type { Directory } from './io/directory.js';
import type { ModelConfig } from './model/config.js';
import type { Decoder } from './model/decoder.js';
import { loadModel, readModelConfig, type LoadQuantization } from './model/load.js';
import { currentLimits } from './plan/limits.js';
import { planRun, requireFit, type RunMemory } from './plan/run.js';
import { CARD_FILE, modelCard } from './record/card.js';
import { hashRowFiles } from './record/hashes.js';
import { makeRecord } from './record/make.js';
import { RECORD_FILE, serializeRecord } from './record/record.js';
import { admitCheckpoint, checkpointName, type CheckpointInfo } from './resume/checkpoint.js';
import { hashRunFiles, INPUTS_FILE, inputsOf, serializeInputs, type RunInputs } from './resume/inputs.js';
import { withManifest } from './resume/manifest.js';
import type { SharedParts } from './run/shared.js';
import { besideAdapter, withAddedTokens } from './tokenizer/added-tokens.js';
import { loadTokenizer, TOKENIZER_FILES, type Tokenizer } from './tokenizer/tokenizer.js';
import { readTrainState, trainStateFiles, type TrainState } from './train/state.js';
import { totalStepsOf, train, type EvalMetrics, type StepMetrics, type TrainResult } from './train/trainer.js';

/** The rows of a run, by the part they play. */
export interface RunData {
  readonly train: readonly (DataSource | DataPart)[];
  readonly validation?: readonly (DataSource | DataPart)[] | undefined;
  readonly test?: readonly (DataSource | DataPart)[] | undefined;
}

/** What is known when everything that can be checked has been, and training is about to begin. */
export interface RunPlan {
  readonly device: Device;
  readonly model: ModelConfig;
  readonly counts: ParameterCounts;
  readonly data: DataSplits;
  readonly totalSteps: number;
  /** Those that a checkpoint has already; 0 for a new run. */
  readonly doneSteps: number;
}

/** The model at the end of a run. */
export interface TrainedModel {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer | undefined;
  readonly data: DataSplits;
  readonly training: TrainResult;
}

/** What a run tells while it goes on, in this order. */
export interface FinetuneCallbacks {
  readonly onDevice?: (device: Device) => void;
  /** Something worth knowing that is no error. */
  readonly onNote?: (note: string) => void;
  readonly onModel?: (model: ModelConfig) => void;
  /** The memory that the run will need; it fits. */
  readonly onMemory?: (memory: RunMemory) => void;
  readonly onData?: (data: DataSplits) => void;
  /** After each tensor of the model that was loaded. */
  readonly onLoad?: (done: number, total: number) => void;
  /** Nothing but the device can fail from here on. */
  readonly onReady?: (plan: RunPlan) => void | Promise<void>;
  readonly onStep?: (metrics: StepMetrics) => void;
  /** Every `logging_steps` steps, and at the last. */
  readonly onLog?: (metrics: StepMetrics) => void | Promise<void>;
  readonly onEvaluate?: (metrics: EvalMetrics) => void | Promise<void>;
  readonly onTest?: (result: LossResult) => void | Promise<void>;
  /** The model with what was trained on it, before it is put away; not when `shouldStop` ended the run. */
  readonly onTrained?: (trained: TrainedModel) => void | Promise<void>;
  /**
   * The files of a checkpoint, by name: the adapter as PEFT has it, and what `resume` needs. Comes as `training.save_strategy` has it,
   * after the last step, and when `shouldStop` ends the run; what was logged before belongs to it.
   */
  readonly onCheckpoint?: (files: Readonly<Record<string, Uint8Array | string>>, info: CheckpointInfo) => void | Promise<void>;
  /** Asked between two micro-batches: true ends the run with the steps so far. */
  readonly shouldStop?: () => boolean;
}

export interface FinetuneRequest {
  readonly config: RunConfig;
  /** The model that `config.model` names. */
  readonly model: Directory;
  /** What `config.data` names. */
  readonly data: RunData;
  /** The adapter that `config.adapter.init_from` names. */
  readonly initFrom?: Directory | undefined;
  /** A checkpoint to go on from; everything else as it was for the run that made it. */
  readonly resume?: Directory | undefined;
  /** Goes on from `resume` even where something else has changed. */
  readonly force?: boolean | undefined;
  readonly host: Host;
  readonly callbacks?: FinetuneCallbacks;
}

/** A finished run. Nothing of it is left on the device. */
export interface FinetuneResult {
  readonly training: TrainResult;
  readonly counts: ParameterCounts;
  /** Loss on the test rows of the adapter in `files`. */
  readonly test: LossResult | undefined;
  /** What belongs into the output folder, by name: the PEFT adapter, the tokenizer's files as found, the config. */
  readonly files: Readonly<Record<string, Uint8Array | string>>;
}

export const CONFIG_FILE = 'config.yaml';

/** What decides the base model on the device. */
function baseKey({ model, model_revision: revision, quantization, adapter }: RunConfig, trained: boolean): string {
  return JSON.stringify([model, revision, quantization, trained ? adapter : undefined]);
}

/** What decides which files a run reads. */
function inputsKey({ model, model_revision: revision, data, adapter }: RunConfig): string {
  return JSON.stringify([model, revision, data, adapter.init_from, adapter.added_tokens]);
}

/** Methods whose files PEFT loads. */
const PEFT_METHODS: ReadonlySet<string> = new Set(['lora', 'prompt_tuning']);

/** `config.quantization` as the loader takes it. */
export function quantizationOf({ quantization: q }: Pick<RunConfig, 'quantization'>): LoadQuantization | undefined {
  if (!q.load_in_4bit) return undefined;
  return { quantType: q.bnb_4bit_quant_type, doubleQuant: q.bnb_4bit_use_double_quant, blockSize: q.bnb_4bit_blocksize };
}

/** Name and revision of the base model as adapter_config.json gives them: a Hub id there has no `@revision`. */
function baseOf({ model, model_revision: given }: Pick<RunConfig, 'model' | 'model_revision'>): { model: string; revision?: string } {
  const [, id = model, written] = /^([\w.-]+(?:\/[\w.-]+)?)@(.+)$/.exec(model) ?? [];
  const revision = given ?? written;
  return { model: id, ...(revision === undefined ? {} : { revision }) };
}

/** Longest example: `max_length`, or the model's context where that is shorter. */
export function effectiveMaxLength(maxLength: number, context: number, note?: (text: string) => void): number {
  if (maxLength <= context) return maxLength;
  note?.(`data.max_length ${maxLength} is more than the model's context: ${context} is taken`);
  return context;
}

/**
 * How the rows of a run are read.
 * @throws ConfigError for packed rows with vectors in front of every row, which only the first sample of a row would see.
 */
export function dataOptionsOf(config: RunConfig, model: ModelConfig, settings: AdapterSettings, note?: (text: string) => void): DataOptions {
  const { train: _train, validation: _validation, test: _test, ...options } = config.data;
  const context = contextOf(model, settings);
  if (options.packing && context < model.maxPositions) throw new ConfigError(`data.packing: ${settings.method} puts vectors in front of every row, which only the first of several samples in a row would see`);
  return { ...options, max_length: effectiveMaxLength(config.data.max_length, context, note), seed: config.training.seed };
}

/**
 * Memory of a run on an open device, from the config, the model's config.json and that of the adapter that it goes on from.
 * @throws ConfigError when the adapter's targets match nothing.
 */
export async function planFor(request: {
  readonly config: RunConfig;
  readonly model: ModelConfig;
  readonly initFrom?: Directory | undefined;
  readonly device: Device;
  readonly host: Host;
}): Promise<RunMemory> {
  const { config, model, initFrom, device, host } = request;
  const adapter = adapterSettings(config.adapter, initFrom === undefined ? undefined : await readAdapterConfig(initFrom));
  return planRun({
    config,
    model,
    backend: device.backend,
    quantization: quantizationOf(config),
    maxLength: effectiveMaxLength(config.data.max_length, contextOf(model, adapter)),
    adapter,
    limits: currentLimits(device, host.memory?.()),
  });
}

/**
 * A whole run: opens the device, reads model and data, trains an adapter, evaluates it on the test rows, and returns the files of
 * the result. Writes nothing itself. Settings, model, data and adapter are all checked before the first step.
 * @throws ConfigError, FormatError, DataError for what is wrong with the inputs, or has changed since the checkpoint to go on from;
 * DeviceError; TrainingError at a loss that is not finite.
 */
export async function finetune(request: FinetuneRequest): Promise<FinetuneResult> {
  const { config, host, callbacks = {} } = request;
  const device = await openDevice(config.device, host);
  try {
    callbacks.onDevice?.(device);
    return await new FinetuneRun(await withTokenizer(request), device).guarded();
  } finally {
    await device.close();
  }
}

/**
 * The same on an open device, with what other runs on it have loaded already; leaves device and base model open. The numbers are those
 * of a run by itself.
 * @throws as finetune.
 */
export async function finetuneOn(shared: SharedParts, request: FinetuneRequest): Promise<FinetuneResult> {
  return new FinetuneRun(await withTokenizer(request), shared.device, shared).guarded();
}

/** The run with the tokenizer that it will have: that of the adapter that it goes on from, or the model's with the added tokens, whose rows are trained. */
async function withTokenizer(request: FinetuneRequest): Promise<FinetuneRequest> {
  const { config, model, initFrom } = request;
  if (initFrom !== undefined) return { ...request, model: await besideAdapter(model, initFrom) };
  const { added_tokens: tokens } = config.adapter;
  if (tokens === undefined) return request;
  const { directory, ids } = await withAddedTokens(model, tokens);
  const rows = withTokenRows(await readModelConfig(model), config.adapter.trainable_token_indices, ids);
  return { ...request, model: directory, config: { ...config, adapter: { ...config.adapter, trainable_token_indices: rows as NonNullable<typeof config.adapter.trainable_token_indices> } } };
}

class FinetuneRun {
  private readonly callbacks: FinetuneCallbacks;
  /** Nobody waits for the run any more: its device was lost under it, and what it reads from there means nothing. */
  private over = false;

  constructor(
    private readonly request: FinetuneRequest,
    private readonly device: Device,
    private readonly shared?: SharedParts,
  ) {
    this.callbacks = request.callbacks ?? {};
  }

  /** The run, or what befalls the device meanwhile. */
  async guarded(): Promise<FinetuneResult> {
    try {
      return await this.device.guard(this.complete());
    } finally {
      this.over = true;
    }
  }

  private async complete(): Promise<FinetuneResult> {
    const { config, model: directory } = this.request;
    const model = await readModelConfig(directory);
    this.callbacks.onModel?.(model);
    await this.planMemory(model);
    const inputs = await this.hashInputs();
    const doneSteps = inputs === undefined ? 0 : await this.admit(inputs);
    // Data before weights: what is wrong with it shows before the slow part.
    const data = await this.loadData(model);
    this.callbacks.onData?.(data);
    const decoder = await this.loadBase(model);
    let adapter: Adapter | undefined;
    try {
      adapter = await this.openAdapter(decoder);
      const counts = countParameters(decoder, adapter);
      const totalSteps = totalStepsOf(data.train.examples.length, config.training);
      await this.callbacks.onReady?.({ device: this.device, model, counts, data, totalSteps, doneSteps });
      const training = await this.train(decoder, adapter, data, inputs);
      const test = await this.test(decoder, data);
      if (this.callbacks.onTrained !== undefined && this.callbacks.shouldStop?.() !== true) {
        await this.callbacks.onTrained({ decoder, tokenizer: await loadTokenizer(directory), data, training });
      }
      const done = { training, counts, test };
      // Somebody who stops a run wants it to end.
      const described = this.callbacks.shouldStop?.() === true ? {} : await this.describe(decoder, data, done);
      return { ...done, files: { ...(await this.files(adapter)), ...described } };
    } finally {
      adapter?.dispose();
      if (this.shared === undefined) decoder.dispose();
    }
  }

  private async loadBase(model: ModelConfig): Promise<Decoder> {
    const { config, model: directory } = this.request;
    const quantization = quantizationOf(config);
    const trainable = trainedBase(model, await this.settings());
    const { onLoad } = this.callbacks;
    const load = (): Promise<Decoder> => loadModel(directory, { quantization, trainable, ...(onLoad === undefined ? {} : { onProgress: onLoad }) });
    return this.shared?.decoder(baseKey(config, trainable !== undefined), load) ?? load();
  }

  /** @throws ConfigError when the run does not fit the device. */
  private async planMemory(model: ModelConfig): Promise<void> {
    const { config, host, initFrom } = this.request;
    let memory: RunMemory;
    try {
      memory = await planFor({ config, model, initFrom, device: this.device, host });
    } catch (error) {
      if (error instanceof LowrankError) throw error;
      // A plan is a help: what it cannot follow shall not keep a run from starting.
      this.callbacks.onNote?.(`memory was not planned: ${(error as Error).message}`);
      return;
    }
    requireFit(memory);
    for (const concern of memory.concerns) this.callbacks.onNote?.(concern);
    this.callbacks.onMemory?.(memory);
  }

  private async loadData(model: ModelConfig): Promise<DataSplits> {
    const { config, data, model: directory } = this.request;
    const rows = dataOptionsOf(config, model, await this.settings(), this.callbacks.onNote);
    const tokenizer = await loadTokenizer(directory);
    const settings = await this.settings();
    const vocabSize = settings.method === 'lora' ? grownVocabulary(model, settings.trainable_token_indices) : model.vocabSize;
    const load = (): Promise<DataSplits> => loadSplits({ ...data, tokenizer, options: rows, vocabSize });
    return this.shared?.data(JSON.stringify([inputsKey(config), rows, vocabSize]), load) ?? load();
  }

  /** What is trained. @throws ConfigError when it does not go with the adapter to go on from. */
  private async settings(): Promise<AdapterSettings> {
    const { config, initFrom } = this.request;
    return adapterSettings(config.adapter, initFrom === undefined ? undefined : await readAdapterConfig(initFrom));
  }

  private async openAdapter(decoder: Decoder): Promise<Adapter> {
    const { config, initFrom, model } = this.request;
    const { init_from: named } = config.adapter;
    const settings = await this.settings();
    const definition = definitionOf(settings.method);
    if ((named === undefined) !== (initFrom === undefined)) throw new ConfigError('adapter.init_from names a folder that was not handed over, or the other way round');
    if (initFrom === undefined) {
      const fresh = definition.create(decoder, settings, config.training.seed);
      const tokenizer = await loadTokenizer(model);
      await fresh.initialize?.(tokenizer === undefined ? undefined : (text) => Promise.resolve(tokenizer.encode(text)));
      return fresh;
    }
    const adapter = await loadAdapter(decoder, initFrom, { dropout: config.adapter.lora_dropout, learningRateRatio: config.adapter.loraplus_lr_ratio });
    this.callbacks.onNote?.(`going on from ${initFrom.name}: ${definition.describe(settings)}, as that adapter has it`);
    return adapter;
  }

  /** Undefined where nobody asks for checkpoints. */
  private async hashInputs(): Promise<RunInputs | undefined> {
    const { config, model, data, initFrom, resume } = this.request;
    if (this.callbacks.onCheckpoint === undefined && resume === undefined) return undefined;
    const files = { train: sourcesOf(data.train), validation: data.validation === undefined ? undefined : sourcesOf(data.validation) };
    const hash = (): Promise<RunInputs['files']> => hashRunFiles({ model, data: files, initFrom });
    return inputsOf(await (this.shared?.hashes(inputsKey(config), hash) ?? hash()), config, this.device.backend);
  }

  private async admit(inputs: RunInputs): Promise<number> {
    const { config, resume, force = false } = this.request;
    if (resume === undefined) return 0;
    return admitCheckpoint(resume, inputs, { config, force, note: (text) => this.callbacks.onNote?.(text) });
  }

  private async save(state: TrainState, adapter: Adapter, inputs: RunInputs): Promise<void> {
    const { config } = this.request;
    const files = await withManifest({
      ...(await adapterFiles(adapter, baseOf(config))),
      ...trainStateFiles(state, adapter.parameters),
      [CONFIG_FILE]: serializeConfig(config),
      [INPUTS_FILE]: serializeInputs(inputs),
    });
    const { step, totalSteps, best } = state;
    if (!this.over) await this.callbacks.onCheckpoint?.(files, { name: checkpointName(step), step, totalSteps, best: best.best?.metrics });
  }

  private async train(decoder: Decoder, adapter: Adapter, data: DataSplits, inputs: RunInputs | undefined): Promise<TrainResult> {
    const { config, resume, force } = this.request;
    const { onStep, onLog, onEvaluate, shouldStop } = this.callbacks;
    const { validation } = data;
    return train({
      decoder,
      adapter,
      examples: data.train.examples,
      mix: mixOf(data.train.parts),
      options: config.training,
      shuffle: config.data.shuffle,
      resume: resume === undefined ? undefined : await readTrainState(resume, adapter.parameters),
      force: force === true,
      callbacks: {
        ...(this.callbacks.onCheckpoint === undefined || inputs === undefined ? {} : { onCheckpoint: (state) => this.save(state, adapter, inputs) }),
        ...(onStep === undefined ? {} : { onStep }),
        ...(onLog === undefined ? {} : { onLog }),
        ...(onEvaluate === undefined ? {} : { onEvaluate }),
        ...(shouldStop === undefined ? {} : { shouldStop }),
        ...(validation === undefined
          ? {}
          : { evaluate: () => evaluateLoss(decoder, validation.examples, config.training.per_device_eval_batch_size) }),
      },
    });
  }

  private async test(decoder: Decoder, { test }: DataSplits): Promise<LossResult | undefined> {
    // Somebody who stops a run wants it to end.
    if (test === undefined || this.callbacks.shouldStop?.() === true) return undefined;
    const result = await evaluateLoss(decoder, test.examples, this.request.config.training.per_device_eval_batch_size);
    await this.callbacks.onTest?.(result);
    return result;
  }

  /** The record of this run and its model card. */
  private async describe(decoder: Decoder, data: DataSplits, { training, counts, test }: Omit<FinetuneResult, 'files'>): Promise<Record<string, string>> {
    const { config, model, data: sources } = this.request;
    const parts = (['train', 'validation', 'test'] as const).flatMap((part) => {
      const set = data[part];
      return set === undefined ? [] : [{ part, stats: set.stats, sources: sources[part] ?? [] }];
    });
    const { method } = config.adapter;
    const record = await makeRecord({
      ...{ config, model, decoder, device: this.device, counts, base: baseOf(config) },
      data: await Promise.all(parts.map(async ({ part, stats, sources: files }) => ({ part, stats, files: await hashRowFiles(sourcesOf(files)) }))),
      prompts: (data.validation ?? data.test ?? data.train).examples,
      results: { steps: training.steps, train_loss: training.trainLoss, eval_loss: training.best?.eval_loss, test_loss: test?.loss },
    });
    const loads = method === 'full' ? 'model' : PEFT_METHODS.has(method) ? 'peft' : 'own';
    return { [RECORD_FILE]: serializeRecord(record), [CARD_FILE]: modelCard(record, config, { name: method, loads }) };
  }

  private async files(adapter: Adapter): Promise<Record<string, Uint8Array | string>> {
    const { config, model } = this.request;
    const { method, save_dtype: dtype } = config.adapter;
    const trained = method === 'full' ? await trainedModelFiles(model, adapter, dtype === 'auto' ? undefined : FLOAT_NAMES[dtype]) : await adapterFiles(adapter, baseOf(config));
    const files: Record<string, Uint8Array | string> = { ...trained, [CONFIG_FILE]: serializeConfig(config) };
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
}
