import type { EvalMetrics } from './metrics.js';

export interface BestOptions {
  readonly early_stopping_patience?: number | undefined;
  readonly early_stopping_threshold: number;
}

/** Where a {@link Best} stands. */
export interface BestState {
  readonly best: { readonly metrics: EvalMetrics; readonly values: readonly Float32Array[] } | undefined;
  readonly evaluationsWithoutGain: number;
}

/** The best evaluation of a run with the values of the parameters at it, and whether it is time to give up. */
export class Best implements BestState {
  best: BestState['best'];
  evaluationsWithoutGain = 0;

  constructor(private readonly options: BestOptions) {}

  /** Whether the run shall stop for want of gain. */
  get givesUp(): boolean {
    const { early_stopping_patience: patience } = this.options;
    return patience !== undefined && this.evaluationsWithoutGain >= patience;
  }

  /** Takes an evaluation; `values` is asked where it is the best so far. */
  async consider(metrics: EvalMetrics, values: () => Promise<Float32Array[]>): Promise<void> {
    const { early_stopping_threshold: threshold } = this.options;
    const bar = this.best?.metrics.eval_loss ?? Infinity;
    // The threshold is for giving up; the best adapter is the best, by however little.
    this.evaluationsWithoutGain = metrics.eval_loss < bar - threshold ? 0 : this.evaluationsWithoutGain + 1;
    if (metrics.eval_loss < bar) this.best = { metrics, values: await values() };
  }

  restore({ best, evaluationsWithoutGain }: BestState): void {
    this.best = best;
    this.evaluationsWithoutGain = evaluationsWithoutGain;
  }
}
