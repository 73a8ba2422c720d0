import * as tf from '@tensorflow/tfjs-core';
import { namedValues, type StepReport } from './metrics.js';

/** A step with the 1-based lines of the rows in its batches. */
export interface BatchedStepReport extends StepReport {
  readonly rows: readonly number[];
}

/** A step whose loss and gradient norm are still on the device. */
interface PendingReport extends Omit<BatchedStepReport, 'loss' | 'gradNorm' | 'metrics'> {
  /** `[2 + metrics]`: loss, gradient norm, means of the objective's metrics. */
  readonly values: tf.Tensor1D;
}

/** Reports of steps, read back from the device together: each read stalls a GPU. */
export class PendingReports {
  private pending: PendingReport[] = [];

  /** @param metrics names of the objective's metrics */
  constructor(private readonly metrics: readonly string[] = []) {}

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
    const width = 2 + this.metrics.length;
    return pending.map(({ values: _, ...report }, i) => {
      const [loss, gradNorm, ...means] = read.subarray(width * i, width * (i + 1)) as unknown as [number, number];
      const metrics = namedValues(this.metrics, means);
      return { ...report, loss, gradNorm, ...(this.metrics.length === 0 ? {} : { metrics }) };
    });
  }

  dispose(): void {
    tf.dispose(this.pending.map(({ values }) => values));
    this.pending = [];
  }
}
