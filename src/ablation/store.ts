import type { Directory } from '../io/directory.js';
import type { CheckpointInfo } from '../resume/checkpoint.js';
import type { DiskNeeds } from '../finetune/disk-needs.js';
import type { Baseline, FinishedRun, RunResult, RunTimings } from './result.js';
import type { AblationRun } from './runs.js';

type Files = Readonly<Record<string, Uint8Array | string>>;

/** Where an ablation keeps what it has done, so that it can be stopped at any moment. */
export interface AblationStore {
  /** The result of a run, if it has ended. */
  state(run: AblationRun): Promise<RunState>;
  /** The folder of a run that is begun or gone on with. */
  open(run: AblationRun): Promise<RunStore>;
  /** The adapter of a finished run. */
  adapter(run: AblationRun): Directory;
  /** What the untrained base gave on the rows of this key; undefined before it was measured. */
  baseline(key: string): Promise<Baseline | undefined>;
  /** Keeps what the untrained base gave. */
  saveBaseline(key: string, baseline: Baseline): Promise<void>;
  /**
   * Before the base model is loaded. @param needs of each run that is to be made, where it can be told
   * @param atOnce runs that are made at a time
   * @throws ConfigError where there is less room than the runs need together.
   */
  requireSpace?(runs: readonly AblationRun[], needs: readonly DiskNeeds[], atOnce: number): Promise<void>;
  /** Puts files of the whole ablation in the place of what was there, each as a whole. */
  write(files: Readonly<Record<string, string>>): Promise<void>;
}

export interface RunState {
  readonly finished?: FinishedRun;
  /** The error that ended it. */
  readonly failed?: string;
}

/** What one run of an ablation writes to. */
export interface RunStore {
  /** The newest whole checkpoint; undefined starts from the beginning. */
  readonly resume: Directory | undefined;
  /** @throws ConfigError where there is less room than a run needs. */
  requireSpace?(needs: DiskNeeds): Promise<void>;
  /** The run starts behind this step: log lines of later steps are removed. */
  begin(step: number): Promise<void>;
  /** Adds a line to the log. */
  append(metrics: object): Promise<void>;
  /** Every line that was appended up to now, also before an interruption. */
  log(): Promise<unknown[]>;
  /** Stores a checkpoint. */
  save(files: Files, info: CheckpointInfo): Promise<void>;
  /** The result is written last: after it the run is finished and never made again. */
  finish(files: Files, result: RunResult, timings: RunTimings): Promise<void>;
  /** Stores the error that ended the run. */
  fail(error: string): Promise<void>;
}
