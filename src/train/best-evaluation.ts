import type { EvalMetrics } from './metrics.js';

export interface EarlyStoppingOptions {
  readonly early_stopping_patience?: number | undefined;
  readonly early_stopping_threshold: number;
}

/** State of a {@link BestEvaluation}. */
export interface BestState {
  readonly best: { readonly metrics: EvalMetrics; readonly values: readonly Float32Array[] } | undefined;
  readonly evaluationsWithoutGain: number;
}

/** The best evaluation of a run, the parameter values at it, and early stopping. */
export class BestEvaluation implements BestState {
  best: BestState['best'];
  evaluationsWithoutGain = 0;

  constructor(private readonly options: EarlyStoppingOptions) {}

  /** Whether to stop: no improvement for `early_stopping_patience` evaluations. */
  get stopsEarly(): boolean {
    const { early_stopping_patience: patience } = this.options;
    return patience !== undefined && this.evaluationsWithoutGain >= patience;
  }

  /** Takes an evaluation; `values` is called where it is the best so far. */
  async consider(metrics: EvalMetrics, values: () => Promise<Float32Array[]>): Promise<void> {
    const { early_stopping_threshold: threshold } = this.options;
    const bar = this.best?.metrics.eval_loss ?? Infinity;
    // The threshold decides about stopping only; the best adapter is the best, by however little.
    this.evaluationsWithoutGain = metrics.eval_loss < bar - threshold ? 0 : this.evaluationsWithoutGain + 1;
    if (metrics.eval_loss < bar) this.best = { metrics, values: await values() };
  }

  restore({ best, evaluationsWithoutGain }: BestState): void {
    this.best = best;
    this.evaluationsWithoutGain = evaluationsWithoutGain;
  }
}
