import * as tf from '@tensorflow/tfjs-core';
import { placesOf, type Targets } from '../../kernels/index.js';
import { ConfigError } from '../errors.js';
import type { Decoder, DecoderContext } from './decoder.js';

/** Padded rows with labels, as collated: `[batch · seq]` each, labels not shifted, −100 where nothing is learnt. */
export interface LabelledBatch {
  readonly inputIds: Int32Array;
  readonly labels: Int32Array;
  readonly batch: number;
  readonly seq: number;
  /** `[batch · seq]`: where the sample of each token begins in its row, when several samples share a row. */
  readonly starts?: Int32Array;
}

const IGNORED = -100;

/** Which position predicts which token: position t of a row predicts labels[t + 1], where that is not −100. */
export function targetsOf({ labels, batch, seq }: LabelledBatch): Targets {
  const rows: number[] = [];
  const targets: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t + 1 < seq; t++) {
      const label = labels[b * seq + t + 1] as number;
      if (label === IGNORED) continue;
      rows.push(b * seq + t);
      targets.push(label);
    }
  }
  return { rows: Int32Array.from(rows), labels: Int32Array.from(targets) };
}

export interface LossOptions extends DecoderContext {
  /** False: no gradient will be asked for. Default true. */
  readonly training?: boolean;
}

/**
 * The rows with `ahead` positions in front that are not learnt: the last of them predicts the first token, as in PEFT.
 */
function behindPrefix({ inputIds, labels, batch, seq }: LabelledBatch, ahead: number): LabelledBatch {
  const shifted = new Int32Array(batch * (seq + ahead)).fill(IGNORED);
  for (let b = 0; b < batch; b++) shifted.set(labels.subarray(b * seq, (b + 1) * seq), b * (seq + ahead) + ahead);
  return { inputIds, labels: shifted, batch, seq: seq + ahead };
}

/** What a loss takes from the host: nothing else differs between batches of one shape. */
export interface LossInputs {
  readonly batch: number;
  readonly seq: number;
  readonly ids: Int32Array;
  readonly starts: Int32Array | undefined;
  readonly targets: Required<Targets>;
}

/** @param training as in {@link LossOptions} */
export function lossInputs(decoder: Decoder, batch: LabelledBatch, training: boolean): LossInputs {
  if (batch.starts !== undefined && decoder.prefix !== undefined)
    throw new ConfigError('a trained prompt takes no packed rows: it would stand before the first text of each only');
  const ahead = training ? (decoder.prefix?.length ?? 0) : 0;
  const { rows, labels } = targetsOf(ahead > 0 ? behindPrefix(batch, ahead) : batch);
  const targets = { rows, labels, places: placesOf(rows, batch.batch * (batch.seq + ahead)) };
  return { batch: batch.batch, seq: batch.seq, ids: batch.inputIds, starts: batch.starts, targets };
}

/** Hidden states of all positions that a loss is taken from, `[batch · length, hidden]`; those of a prefix in training. */
export function hiddenOf(
  decoder: Decoder,
  { batch, seq, ids, starts }: LossInputs,
  options: LossOptions = {},
): tf.Tensor2D {
  const segments = starts === undefined ? {} : { starts: tf.tensor1d(starts, 'int32') };
  const keepPrefix = (options.training ?? true) && (decoder.prefix?.length ?? 0) > 0;
  return decoder.hidden(
    { ids: tf.tensor1d(ids, 'int32'), batch, length: seq, ...segments },
    { ...options, keepPrefix },
  );
}

/** As {@link batchLossSum}, whose tensors are made of these very arrays. */
export function lossSumOf(decoder: Decoder, inputs: LossInputs, options: LossOptions = {}): tf.Scalar {
  return tf.tidy(() =>
    decoder.head.lossSum(hiddenOf(decoder, inputs, options), inputs.targets, options.training ?? true, options),
  );
}

/**
 * Sum of the token losses of a batch, Σ −log p(labels[t + 1] | tokens ≤ t), in nats; scalar. Padding on the right needs
 * no mask: attention is causal. In training a trained prompt learns to predict the first token too; an evaluation
 * counts the same tokens with and without it, so that the two can be compared.
 */
export function batchLossSum(decoder: Decoder, batch: LabelledBatch, options: LossOptions = {}): tf.Scalar {
  return lossSumOf(decoder, lossInputs(decoder, batch, options.training ?? true), options);
}
