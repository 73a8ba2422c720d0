import * as tf from '@tensorflow/tfjs-core';

/** The middle value; the mean of the two middle ones of an even count. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  if (upper === undefined) return NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

/** ‖a − b‖ / ‖b‖; Infinity where a is not finite. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number];
    difference += (x - y) ** 2;
    size += y * y;
  }
  if (!Number.isFinite(difference)) return Infinity;
  return difference === 0 ? 0 : Math.sqrt(difference / Math.max(size, 1e-30));
}

/** Waits until the device has done all that was asked of it. */
export async function settle(): Promise<void> {
  const marker = tf.tidy(() => tf.add(tf.scalar(1), tf.scalar(1)));
  await marker.data();
  marker.dispose();
}
