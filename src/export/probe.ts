import * as tf from '@tensorflow/tfjs-core';
import { FormatError } from '../errors.js';
import type { FloatDtype } from '../../kernels/types.js';
import type { Checkpoint } from '../io/weights-file.js';
import type { Decoder } from '../model/decoder.js';
import { requireFiniteLogits } from '../model/finite.js';

/** Tokens of a probe: a few more than a tile of the attention kernels has queries would tell no more. */
const PROBE_TOKENS = 12;

/**
 * What rounding weights to a dtype may move logits by, as a share of their deviation: some four times what was seen on
 * models of up to 135 M parameters.
 */
const TOLERANCE: Readonly<Record<FloatDtype, number>> = { F32: 2e-3, F16: 2e-2, BF16: 0.15 };

/** Token ids from all over a vocabulary, its last ones among them: new tokens stand at its end. */
export function probeTokens(vocab: number, maxLength: number): number[] {
  const count = Math.max(1, Math.min(PROBE_TOKENS, maxLength));
  return Array.from({ length: count }, (_, i) =>
    i === count - 1 ? vocab - 1 : Math.floor((i * 0.618034 * vocab + i) % vocab),
  );
}

/** Logits at every position of a probe, `[tokens · vocab]`. @throws DeviceError where one is not finite */
export async function probeLogits(decoder: Decoder, ids: readonly number[]): Promise<Float32Array> {
  const logits = tf.tidy(() =>
    decoder.logits(decoder.hidden({ ids: tf.tensor1d(Int32Array.from(ids), 'int32'), batch: 1, length: ids.length })),
  );
  const values = await logits.data<'float32'>();
  logits.dispose();
  requireFiniteLogits(values, decoder.vocabSize);
  return values.slice();
}

/** The coarsest float dtype that a checkpoint stores. */
export function coarsestDtype(checkpoint: Checkpoint): FloatDtype {
  const found = new Set(checkpoint.names().map((name) => checkpoint.info(name).dtype));
  return found.has('BF16') ? 'BF16' : found.has('F16') ? 'F16' : 'F32';
}

/**
 * Largest difference of two probes as a share of the deviation of the first.
 * @throws FormatError when it is more than rounding to the dtype explains
 */
export function requireSameLogits(before: Float32Array, after: Float32Array, dtype: FloatDtype, where: string): number {
  if (before.length !== after.length)
    throw new FormatError(
      `${where}: read back, the model has ${after.length} logits for what base and adapter have ${before.length}`,
    );
  const mean = before.reduce((sum, value) => sum + value, 0) / before.length;
  const deviation = Math.sqrt(before.reduce((sum, value) => sum + (value - mean) ** 2, 0) / before.length);
  const largest = before.reduce((most, value, i) => Math.max(most, Math.abs(value - (after[i] as number))), 0);
  const share = largest / Math.max(deviation, 1e-30);
  if (!(share <= TOLERANCE[dtype])) {
    throw new FormatError(
      `${where}: read back, the model's logits differ from those of base and adapter by up to ${largest.toPrecision(3)} where they deviate by ${deviation.toPrecision(3)}: nothing was written. Please report this with the model's config.json`,
    );
  }
  return share;
}
