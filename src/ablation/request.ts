import type { Device, Host } from '../device/device.js';
import type { Directory } from '../io/directory.js';
import type { RunData } from '../finetune/request.js';
import type { EvalMetrics, StepMetrics } from '../train/metrics.js';
import type { DeviceHolder } from './device-holder.js';
import type { RunEstimate } from './estimate.js';
import type { Evaluation } from './evaluation.js';
import type { Baseline, FailedRun, FinishedRun } from './result.js';
import type { AblationRun } from './runs.js';
import type { AblationStore, RunState } from './store.js';

/** What an ablation tells while it goes on. */
export interface AblationCallbacks {
  /** Something worth knowing that is no error. */
  readonly onNote?: (note: string) => void;
  /** The device is open. */
  readonly onDevice?: (device: Device) => void;
  /** Before the first run: what there is to do, and how long it may take. */
  readonly onEstimate?: (estimates: readonly RunEstimate[]) => void;
  /** The untrained base was evaluated for the runs of this key. */
  readonly onBaseline?: (key: string, baseline: Baseline) => void;
  /** A run that was finished, or failed, before this call. */
  readonly onKnown?: (run: AblationRun, state: RunState) => void;
  /** A run begins, or continues behind `doneSteps`. */
  readonly onRun?: (run: AblationRun, progress: { readonly totalSteps: number; readonly doneSteps: number }) => void;
  /** After each optimiser step of a run. */
  readonly onStep?: (run: AblationRun, metrics: StepMetrics) => void;
  /** After each evaluation of a run on the validation rows. */
  readonly onEvaluate?: (run: AblationRun, metrics: EvalMetrics) => void;
  /** A run has ended and its files are stored. */
  readonly onFinished?: (run: AblationRun, finished: FinishedRun, soFar: AblationState) => void | Promise<void>;
  /** A run has failed with this error; the others continue. */
  readonly onFailed?: (run: AblationRun, error: string) => void | Promise<void>;
  /** Asked between two micro-batches and between two tasks: true writes a checkpoint and ends. */
  readonly shouldStop?: () => boolean;
}

/** What a run reads. */
export interface RunSources {
  readonly model: Directory;
  readonly data: RunData;
  readonly initFrom?: Directory | undefined;
}

/** What {@link runAblation} needs: the runs, their sources, a store and a device. */
export interface AblationRequest {
  readonly runs: readonly AblationRun[];
  readonly store: AblationStore;
  readonly host: Host;
  /** Opens what a config names; the files stay open until the ablation has ended. */
  readonly open: (run: AblationRun) => Promise<RunSources>;
  readonly evaluation?: Evaluation | undefined;
  /** Runs that failed before are made again. */
  readonly retry?: boolean;
  /**
   * Asked once, on the open device, for a way to make the runs in another place with the same store. It is called when
   * the device is closed again; undefined makes the runs here.
   */
  readonly elsewhere?: (
    runs: readonly AblationRun[],
    known: { readonly device: Device; readonly estimates: readonly RunEstimate[] },
  ) => Promise<(() => Promise<void>) | undefined>;
  /** Runs that are made at a time, where it is given: their checkpoints need disk space together. */
  readonly jobs?: number | undefined;
  /** False leaves the measuring of steps before the first run out. */
  readonly estimate?: boolean;
  /** A device with what is loaded on it, which the next ablation takes over; closed at the end where absent. */
  readonly device?: DeviceHolder | undefined;
  readonly callbacks?: AblationCallbacks;
}

/** How far an ablation is. Runs are in their order, whatever order they were made in. */
export interface AblationState {
  readonly finished: readonly FinishedRun[];
  readonly failed: readonly FailedRun[];
  readonly pending: readonly AblationRun[];
  readonly baselines: Readonly<Record<string, Baseline>>;
}
