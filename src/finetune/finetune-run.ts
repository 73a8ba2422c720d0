import type { Adapter } from '../adapters/adapter.js';
import { countParameters } from '../adapters/counts.js';
import { adapterFiles, readAdapterConfig } from '../adapters/peft/files.js';
import { serializeConfig } from '../config/load.js';
import type { RunConfig } from '../config/schema.js';
import { joinPath } from '../config/paths.js';
import { mixOf } from '../data/mix.js';
import type { Examples } from '../data/examples.js';
import type { DataSplits } from '../data/split.js';
import type { Device } from '../device/device.js';
import { ConfigError, LowrankError } from '../errors.js';
import { evaluateLoss, type LossResult } from '../eval/loss.js';
import type { ModelConfig } from '../model/config.js';
import type { Decoder } from '../model/decoder.js';
import { readModelConfig } from '../model/load.js';
import { requireFit, type RunMemory } from '../plan/plan-run.js';
import { admitCheckpoint, checkpointName } from '../resume/checkpoint.js';
import { INPUTS_FILE, inputsOf, serializeInputs, type RunInputs } from '../resume/inputs.js';
import { withManifest } from '../resume/manifest.js';
import { loadTokenizer } from '../tokenizer/tokenizer.js';
import { train } from '../train/loop.js';
import type { Objective } from '../train/objectives/objective.js';
import { OBJECTIVES } from '../train/objectives/registry.js';
import type { OptimizerSlot } from '../train/optimizers/optimizer.js';
import { OPTIMIZERS } from '../train/optimizers/registry.js';
import type { TrainResult } from '../train/request.js';
import { readTrainState, trainStateFiles, type TrainState } from '../train/run-state.js';
import { totalStepsOf } from '../train/schedule.js';
import { requireContinued } from './init-from-check.js';
import { diskNeedsOf } from './disk-needs.js';
import { hashRequest, loadBase, loadData, openAdapter } from './load.js';
import { baseOf, CONFIG_FILE, planFor } from './options.js';
import { describeRun, resultFiles, tokenizerFiles } from './result-files.js';
import type { FinetuneCallbacks, CheckedRequest, FinetuneResult } from './request.js';
import type { SharedResources } from './shared-resources.js';

/** A run on an open device. With `shared` the base model is that one's and stays. */
export class FinetuneRun {
  private readonly callbacks: FinetuneCallbacks;
  private readonly objective: Objective;
  /** Nobody waits for the run any more: its device was lost under it, and what it reads from there means nothing. */
  private over = false;

  constructor(
    private readonly request: CheckedRequest,
    private readonly device: Device,
    private readonly shared?: SharedResources,
  ) {
    const { callbacks = {}, signal, config, objective } = request;
    this.objective = objective ?? OBJECTIVES[config.training.objective];
    this.callbacks =
      signal === undefined
        ? callbacks
        : { ...callbacks, shouldStop: () => signal.aborted || callbacks.shouldStop?.() === true };
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
    if (this.request.initFrom !== undefined)
      requireContinued(config.adapter, await readAdapterConfig(this.request.initFrom));
    const memory = await this.planMemory(model);
    const inputs = await this.hashInputs();
    const doneSteps = inputs === undefined ? 0 : await this.admit(inputs);
    // Data before weights: what is wrong with it shows before the slow part.
    const data = await loadData(this.request, model, this.shared);
    this.callbacks.onData?.(data);
    if (memory !== undefined) await this.callbacks.onDisk?.(diskNeedsOf(config, data, memory.plan, doneSteps));
    const decoder = await loadBase(this.request, model, this.shared);
    let adapter: Adapter | undefined;
    try {
      adapter = await openAdapter(this.request, decoder);
      const counts = countParameters(decoder, adapter);
      const totalSteps = totalStepsOf(data.train.examples.length, config.training);
      await this.callbacks.onReady?.({ device: this.device, model, counts, data, totalSteps, doneSteps });
      let test: LossResult | undefined;
      let described: Record<string, string> | undefined;
      // Somebody who stops a run wants it to end.
      const stopped = (): boolean => this.callbacks.shouldStop?.() === true;
      const training = await this.train(decoder, adapter, data, inputs, async (result) => {
        test = await this.test(decoder, data);
        if (this.callbacks.onTrained !== undefined && !stopped()) {
          await this.callbacks.onTrained({
            decoder,
            tokenizer: await loadTokenizer(directory),
            data,
            training: result,
          });
        }
        if (!stopped())
          described = await describeRun(
            { ...this.request, config: this.comparedConfig() },
            { decoder, data, device: this.device },
            { training: result, counts, test },
          );
      });
      return {
        training,
        stopped: described === undefined,
        config,
        counts,
        test,
        files: { ...(await resultFiles(this.request, adapter)), ...described },
      };
    } finally {
      adapter?.dispose();
      if (this.shared === undefined) decoder.dispose();
    }
  }

  /** @throws ConfigError when the run does not fit the device. */
  private async planMemory(model: ModelConfig): Promise<RunMemory | undefined> {
    const { config, host, initFrom, objective } = this.request;
    let memory: RunMemory;
    try {
      memory = await planFor({ config, model, initFrom, device: this.device, host, objective });
    } catch (error) {
      if (error instanceof ConfigError && initFrom !== undefined)
        throw new ConfigError(
          `adapter.init_from: ${initFrom.name} does not go with model ${config.model}: ${error.message}`,
          { cause: error },
        );
      if (error instanceof LowrankError) throw error;
      // A plan is a help: what it cannot follow shall not keep a run from starting.
      this.callbacks.onNote?.(`memory was not planned: ${(error as Error).message}`);
      return undefined;
    }
    requireFit(memory);
    for (const concern of memory.concerns) this.callbacks.onNote?.(concern);
    this.callbacks.onMemory?.(memory);
    return memory;
  }

  /** Undefined where nobody asks for checkpoints. */
  private async hashInputs(): Promise<RunInputs | undefined> {
    if (this.callbacks.onCheckpoint === undefined && this.request.resume === undefined) return undefined;
    return inputsOf(await hashRequest(this.request, this.shared), this.comparedConfig(), this.device.backend);
  }

  /** The config with the name of what is minimised, also where that is an objective of the caller's own. */
  private comparedConfig(): RunConfig {
    const { config } = this.request;
    const objective = this.objective.name as RunConfig['training']['objective'];
    return { ...config, training: { ...config.training, objective } };
  }

  private async admit(inputs: RunInputs): Promise<number> {
    const { resume, force = false } = this.request;
    if (resume === undefined) return 0;
    const config = this.comparedConfig();
    return admitCheckpoint(resume, inputs, { config, force, note: (text) => this.callbacks.onNote?.(text) });
  }

  private async save(state: TrainState, adapter: Adapter, inputs: RunInputs): Promise<void> {
    const { config, model: directory } = this.request;
    const files = await withManifest({
      ...(await adapterFiles(adapter, baseOf(config))),
      ...trainStateFiles(state, adapter.parameters, this.slots()),
      [CONFIG_FILE]: serializeConfig(config, joinPath(config.training.output_dir, checkpointName(state.step))),
      ...(await tokenizerFiles(directory)),
      [INPUTS_FILE]: serializeInputs(inputs),
    });
    const { step, totalSteps, best } = state;
    if (!this.over)
      await this.callbacks.onCheckpoint?.(files, {
        name: checkpointName(step),
        step,
        totalSteps,
        best: best.best?.metrics,
      });
  }

  private async train(
    decoder: Decoder,
    adapter: Adapter,
    data: DataSplits,
    inputs: RunInputs | undefined,
    onEnd: (result: TrainResult) => Promise<void>,
  ): Promise<TrainResult> {
    const { config, resume, force } = this.request;
    const { onStep, onLog, onEvaluate, shouldStop } = this.callbacks;
    const { validation } = data;
    return train({
      decoder,
      adapter,
      examples: data.train.examples,
      mix: mixOf(data.train.parts),
      options: config.training,
      objective: this.objective,
      shuffle: config.data.shuffle,
      resume: resume === undefined ? undefined : await readTrainState(resume, adapter.parameters, this.slots()),
      force: force === true,
      callbacks: {
        ...(this.callbacks.onCheckpoint === undefined || inputs === undefined
          ? {}
          : { onCheckpoint: (state) => this.save(state, adapter, inputs) }),
        onEnd,
        onDebug: this.callbacks.onDebug,
        ...(onStep === undefined ? {} : { onStep }),
        ...(onLog === undefined ? {} : { onLog }),
        ...(onEvaluate === undefined ? {} : { onEvaluate }),
        ...(shouldStop === undefined ? {} : { shouldStop }),
        ...(validation === undefined ? {} : { evaluate: () => this.evaluate(decoder, validation.examples) }),
      },
    });
  }

  /** What the optimiser of the run keeps. */
  private slots(): readonly OptimizerSlot[] {
    const { training } = this.request.config;
    return OPTIMIZERS[training.optim].rule(training).slots;
  }

  private evaluate(decoder: Decoder, examples: Examples): Promise<LossResult> {
    return evaluateLoss(decoder, examples, this.request.config.training.per_device_eval_batch_size, this.objective);
  }

  private async test(decoder: Decoder, { test }: DataSplits): Promise<LossResult | undefined> {
    // Somebody who stops a run wants it to end.
    if (test === undefined || this.callbacks.shouldStop?.() === true) return undefined;
    const result = await this.evaluate(decoder, test.examples);
    await this.callbacks.onTest?.(result);
    return result;
  }
}
