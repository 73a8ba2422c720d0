import type { Adapter } from '../adapters/adapter.js';
import type { RunConfig } from '../config/schema.js';
import type { Examples } from '../data/examples.js';
import type { MixPart } from '../data/mix.js';
import type { Decoder } from '../model/decoder.js';
import type { EvalMetrics, NamedValues, StepMetrics } from './metrics.js';
import type { Objective } from './objectives/objective.js';
import type { TrainState } from './run-state.js';

export interface TrainCallbacks {
  /** Mean loss on the validation rows. Without it there is no validation. */
  readonly evaluate?: () => Promise<{ loss: number; perplexity?: number; metrics?: NamedValues }>;
  readonly onStep?: (metrics: StepMetrics) => void;
  /** What only somebody who looks into speed wants to know. */
  readonly onDebug?: ((text: string) => void) | undefined;
  /** Every `logging_steps` steps, and at the last. */
  readonly onLog?: (metrics: StepMetrics) => void | Promise<void>;
  readonly onEvaluate?: (metrics: EvalMetrics) => void | Promise<void>;
  /**
   * Takes the state of the run, for going on from it: as `save_strategy` has it, after the last step, and when
   * `shouldStop` ends the run. Comes after the log and the validation of its step. The arrays are the callee's.
   */
  readonly onCheckpoint?: (state: TrainState) => void | Promise<void>;
  /** Asked between two micro-batches: true ends the run with the steps so far. */
  readonly shouldStop?: () => boolean;
  /**
   * Comes after the last step, with the result in the parameters and its numbers; where `shouldStop` ends the run
   * meanwhile, its state is handed out all the same.
   */
  readonly onEnd?: (result: TrainResult) => Promise<void>;
}

export interface TrainResult {
  /** Those before the checkpoint that a run went on from are counted in, as in all other sums. */
  readonly steps: number;
  readonly totalSteps: number;
  /** Mean training loss over all steps. */
  readonly trainLoss: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly best: EvalMetrics | undefined;
  readonly stoppedEarly: boolean;
  /** Why the run looks as if it had learnt nothing, and what to try; undefined where it does not. */
  readonly warning: string | undefined;
}

export interface TrainRequest {
  readonly decoder: Decoder;
  readonly adapter: Pick<Adapter, 'parameters'> & Partial<Pick<Adapter, 'layerParameters'>>;
  readonly examples: Examples;
  /** Parts of the examples that are drawn by weight. */
  readonly mix?: readonly MixPart[] | undefined;
  readonly options: RunConfig['training'];
  /** In place of the one that `options.objective` names. */
  readonly objective?: Objective | undefined;
  readonly shuffle?: boolean;
  /** Goes on from here, with the numbers of a run that was never interrupted. */
  readonly resume?: TrainState | undefined;
  /** With `resume`: goes on over data of another size or mix too, at the beginning of the epoch. */
  readonly force?: boolean;
  readonly callbacks?: TrainCallbacks;
}
