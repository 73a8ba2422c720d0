import * as tf from '@tensorflow/tfjs-core';
import type { StepReport } from './metrics.js';

/** A step with the 1-based lines of the rows in its batches. */
export interface BatchedStepReport extends StepReport {
  readonly rows: readonly number[];
}

/** A step whose loss and gradient norm are still on the device. */
interface PendingReport extends Omit<BatchedStepReport, 'loss' | 'gradNorm'> {
  /** `[2]`: loss, gradient norm. */
  readonly values: tf.Tensor1D;
}

/** Reports of steps, read back from the device together: each read stalls a GPU. */
export class PendingReports {
  private pending: PendingReport[] = [];

  /** Takes the report's tensor over. */
  add(report: PendingReport): void {
    this.pending.push(report);
  }

  /** Those since the last call, in order. */
  async read(): Promise<BatchedStepReport[]> {
    const pending = this.pending;
    this.pending = [];
    if (pending.length === 0) return [];
    const stacked = tf.tidy(() => tf.concat(pending.map(({ values }) => values)));
    tf.dispose(pending.map(({ values }) => values));
    const read = await stacked.data();
    stacked.dispose();
    return pending.map(({ values: _, ...report }, i) => ({
      ...report,
      loss: read[2 * i] as number,
      gradNorm: read[2 * i + 1] as number,
    }));
  }

  dispose(): void {
    tf.dispose(this.pending.map(({ values }) => values));
    this.pending = [];
  }
}
