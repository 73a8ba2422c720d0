import * as tf from '@tensorflow/tfjs-core';
import {
  accumulateFlat,
  checkTargets,
  flatLayout,
  FlatTensors,
  gpuCopy,
  Replays,
  valueAndGradients,
  type StepInputs,
} from '../../../kernels/index.js';
import type { Decoder } from '../../model/decoder.js';
import { lossSumOf, type LossInputs, type LossOptions } from '../../model/loss.js';
import type { FlatAdamW } from '../optimizers/flat.js';
import { addLoss, type GradientAccumulator, type LossAndGradients } from './accumulator.js';

/** Targets are made more by this many at least: see {@link roundedUp}. */
const MIN_ROWS_STEP = 16;

/**
 * On webgpu: gradients go into one piece of memory, and the commands of a micro-batch are recorded once a shape and
 * replayed, without the JavaScript that makes them. Numbers are those of `EagerAccumulator` to the bit.
 */
export class ReplayedAccumulator implements GradientAccumulator<FlatTensors> {
  private readonly replays: Replays;
  /** Of the latest micro-batch. */
  private readonly gradients: FlatTensors;
  private sums: FlatTensors | undefined;

  /** @param optimizer whose parameters and gradients lie in one piece each; undefined: only the gradients do */
  constructor(
    readonly decoder: Decoder,
    private readonly parameters: readonly tf.Tensor[],
    private readonly optimizer: FlatAdamW | undefined,
    onRefused?: (reason: string) => void,
  ) {
    this.gradients = optimizer?.gradients ?? new FlatTensors(flatLayout(parameters.map((p) => p.shape)));
    this.replays = new Replays(tf.backend(), { results: [this.gradients.flat], watched: parameters, onRefused });
  }

  /** Micro-batches whose commands were replayed. */
  get replayed(): number {
    return this.replays.replayed;
  }

  add(
    sum: LossAndGradients<FlatTensors> | undefined,
    inputs: LossInputs,
    scale: number,
    options: LossOptions,
  ): LossAndGradients<FlatTensors> {
    this.optimizer?.settle();
    const sums = sum === undefined ? undefined : this.sumsWith(sum.gradients);
    const value = this.run(inputs, scale, options);
    if (sum === undefined || sums === undefined) return { loss: value, gradients: this.gradients };
    accumulateFlat(sums, this.gradients);
    return { loss: addLoss(sum.loss, value), gradients: sums };
  }

  release({ loss }: LossAndGradients): void {
    loss.dispose();
  }

  dispose(): void {
    this.replays.dispose();
    this.sums?.dispose();
    if (this.optimizer === undefined) this.gradients.dispose();
  }

  /** Gradients so far, where the next micro-batch does not go over them. */
  private sumsWith(gradients: FlatTensors): FlatTensors {
    this.sums ??= new FlatTensors(this.gradients.layout);
    if (gradients === this.gradients) gpuCopy(tf.backend(), [{ from: this.gradients.flat, to: this.sums.flat }]);
    return this.sums;
  }

  /** @returns the loss; the gradients are in their place. */
  private run(given: LossInputs, scale: number, options: LossOptions): tf.Scalar {
    const { batch, seq, ids, starts } = given;
    const targets = roundedUp(given.targets);
    const inputs = { ...given, targets };
    const { rows, labels, places } = targets;
    checkTargets(targets, places.length, this.decoder.head.vocab);
    const factor = Float32Array.of(scale);
    const { dropoutSeed, gradientCheckpointing } = options;
    const changing: StepInputs = {
      ...{ ids, rows, labels, places, factor },
      ...(starts === undefined ? {} : { starts }),
      ...(dropoutSeed === undefined ? {} : { dropoutSeed }),
    };
    return this.replays.run(
      `${batch}x${seq}${gradientCheckpointing === undefined ? '' : ' checkpointed'}`,
      changing,
      () => {
        const scaled = (): tf.Scalar => tf.mul(lossSumOf(this.decoder, inputs, options), tf.tensor(factor, []));
        const { value, gradients } = valueAndGradients(scaled, this.parameters);
        this.gradients.take(gradients);
        tf.dispose(gradients);
        return value;
      },
    );
  }
}

/**
 * Targets with entries at the end that count for nothing, so that batches of one size are of few shapes: their number
 * is a multiple of a sixteenth of the tokens, if there are any.
 */
export function roundedUp({ rows, labels, places }: LossInputs['targets']): LossInputs['targets'] {
  const tokens = places.length;
  const step = Math.max(MIN_ROWS_STEP, Math.ceil(tokens / 16));
  const count = Math.max(rows.length, Math.min(tokens, Math.ceil(rows.length / step) * step));
  if (count === rows.length) return { rows, labels, places };
  const [moreRows, moreLabels] = [rows, labels].map((values) => {
    const more = new Int32Array(count).fill(-1);
    more.set(values);
    return more;
  }) as [Int32Array, Int32Array];
  return { rows: moreRows, labels: moreLabels, places };
}
