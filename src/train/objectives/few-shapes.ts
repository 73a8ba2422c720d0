import type { LossInputs } from '../../model/loss.js';

/** Numbers of targets are rounded up to a multiple of this at least. */
const MIN_STEP = 16;

/** A count rounded up to a multiple of a sixteenth of `most`, and of {@link MIN_STEP}; never above `most`. */
export function roundedUp(count: number, most: number): number {
  const step = Math.max(MIN_STEP, Math.ceil(most / 16));
  return Math.max(count, Math.min(most, Math.ceil(count / step) * step));
}

/** Values with −1 behind them up to a length. */
export function padded(values: Int32Array, length: number): Int32Array {
  if (values.length === length) return values;
  const more = new Int32Array(length).fill(-1);
  more.set(values);
  return more;
}

/**
 * Targets with entries at the end that count for nothing, so that batches of one size are of few shapes: their number
 * is a multiple of a sixteenth of the tokens, if there are any.
 */
export function withFewShapes({ rows, labels, places }: LossInputs['targets']): LossInputs['targets'] {
  const count = roundedUp(rows.length, places.length);
  return { rows: padded(rows, count), labels: padded(labels, count), places };
}
