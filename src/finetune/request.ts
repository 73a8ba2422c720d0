import type { ParameterCounts } from '../adapters/counts.js';
import type { RunConfig, RunConfigInput } from '../config/schema.js';
import type { DataPart } from '../data/parts.js';
import type { DataSource } from '../data/row.js';
import type { DataSplits } from '../data/split.js';
import type { Device, Host } from '../device/device.js';
import type { LossResult } from '../eval/loss.js';
import type { Directory } from '../io/directory.js';
import type { ModelConfig } from '../model/config.js';
import type { Decoder } from '../model/decoder.js';
import type { RunMemory } from '../plan/plan-run.js';
import type { CheckpointInfo } from '../resume/checkpoint.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { EvalMetrics, StepMetrics } from '../train/metrics.js';
import type { Objective } from '../train/objectives/objective.js';
import type { TrainResult } from '../train/request.js';
import type { DiskNeeds } from './disk-needs.js';

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
  /** The device is open; nothing is loaded yet. */
  readonly onDevice?: (device: Device) => void;
  /** Something worth knowing that is no error. */
  readonly onNote?: (note: string) => void;
  /** What only somebody who looks into speed wants to know. */
  readonly onDebug?: (text: string) => void;
  /** config.json of the base was read. */
  readonly onModel?: (model: ModelConfig) => void;
  /** The memory that the run will need; it fits. */
  readonly onMemory?: (memory: RunMemory) => void;
  /** The data sets are open and their rows checked. */
  readonly onData?: (data: DataSplits) => void;
  /**
   * What the run will write, before any weight is loaded; an error ends the run. Not called where its memory could not
   * be planned.
   */
  readonly onDisk?: (needs: DiskNeeds) => void | Promise<void>;
  /** After each tensor of the model that was loaded. */
  readonly onLoad?: (done: number, total: number) => void;
  /** Nothing but the device can fail from here on. */
  readonly onReady?: (plan: RunPlan) => void | Promise<void>;
  /** After each optimiser step; on WebGPU the steps between two log lines are reported together. */
  readonly onStep?: (metrics: StepMetrics) => void;
  /** Every `logging_steps` steps, and at the last. */
  readonly onLog?: (metrics: StepMetrics) => void | Promise<void>;
  /** After each evaluation on the validation rows. */
  readonly onEvaluate?: (metrics: EvalMetrics) => void | Promise<void>;
  /** After the evaluation of the trained adapter on the test rows. */
  readonly onTest?: (result: LossResult) => void | Promise<void>;
  /** The model with what was trained on it, before it is put away; not when `shouldStop` ended the run. */
  readonly onTrained?: (trained: TrainedModel) => void | Promise<void>;
  /**
   * The files of a checkpoint, by name: the adapter as PEFT has it, and what `resume` needs. Comes as
   * `training.save_strategy` has it, after the last step, and when `shouldStop` ends the run; what was logged before
   * belongs to it.
   */
  readonly onCheckpoint?: (
    files: Readonly<Record<string, Uint8Array | string>>,
    info: CheckpointInfo,
  ) => void | Promise<void>;
  /** Asked between two micro-batches: true ends the run with the steps so far. */
  readonly shouldStop?: () => boolean;
}

/** What {@link finetune} needs: settings, model and data to read, a host for devices. */
export interface FinetuneRequest {
  /** As a config file has it, or as `loadConfig` gives it. Rows that `data` hands over need not be named in it. */
  readonly config: RunConfig | RunConfigInput;
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
  /** What is minimised, in place of the objective that `config.training.objective` names. */
  readonly objective?: Objective | undefined;
  readonly host: Host;
  readonly callbacks?: FinetuneCallbacks | undefined;
  /**
   * Aborting it ends the run after the current micro-batch, with the steps so far and a checkpoint of them where
   * `onCheckpoint` is given.
   */
  readonly signal?: AbortSignal | undefined;
}

/** The same with a config that is complete and checked. */
export interface CheckedRequest extends FinetuneRequest {
  readonly config: RunConfig;
}

/** A finished run. Nothing of it is left on the device. */
export interface FinetuneResult {
  readonly training: TrainResult;
  /**
   * Whether `signal` or `shouldStop` ended the run before its last step: there are no record and no model card then.
   */
  readonly stopped: boolean;
  /** With every default filled in. */
  readonly config: RunConfig;
  readonly counts: ParameterCounts;
  /** Loss on the test rows of the adapter in `files`. */
  readonly test: LossResult | undefined;
  /** What belongs into the output folder, by name: the PEFT adapter, the tokenizer's files as found, the config. */
  readonly files: Readonly<Record<string, Uint8Array | string>>;
}
