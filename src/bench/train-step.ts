import * as tf from '@tensorflow/tfjs-core';
import type { Adapter } from '../adapters/adapter.js';
import { METHODS } from '../adapters/registry.js';
import type { Decoder, DecoderContext } from '../model/decoder.js';
import { tokenInputs, tokenMean, type TokenInputs } from '../train/objectives/token-mean.js';
import type { GradientAccumulator } from '../train/gradients/accumulator.js';
import { createAccumulator } from '../train/gradients/create.js';
import { EagerAccumulator } from '../train/gradients/eager.js';
import { ReplayedAccumulator } from '../train/gradients/replayed.js';
import type { Optimizer } from '../train/optimizers/optimizer.js';
import { createOptimizer } from '../train/optimizers/registry.js';
import { randomDecoder, type Quantize } from './decoder.js';
import { tokenValues, weightValues } from './random.js';
import type { Dims } from './shapes.js';

const LEARNING_RATE = 1e-3;
const ADAMW = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.01 };

/** The options of the adapters that are measured: factors on all linear layers. */
export function benchLora(rank: number): Parameters<typeof METHODS.lora.create>[1] {
  return {
    r: rank,
    lora_alpha: 2 * rank,
    lora_dropout: 0,
    target_modules: 'all-linear',
    use_rslora: false,
    init_lora_weights: true,
  };
}

/**
 * One training step as scripts/bench/torch_step.py does it: a Llama-shaped decoder of random frozen weights, LoRA of
 * scale 2 on all seven linear layers, both factors random, cross-entropy at every position against random labels, AdamW
 * on the factors.
 */
export class BenchStep {
  private inputs: TokenInputs;
  private readonly optimizer: Optimizer;
  private readonly accumulator: GradientAccumulator;

  private constructor(
    readonly decoder: Decoder,
    readonly adapter: Adapter,
    private readonly dims: Dims,
    private readonly checkpointing: boolean,
  ) {
    this.inputs = inputsOf(dims);
    this.optimizer = createOptimizer('adamw', this.parameters, ADAMW);
    this.accumulator = createAccumulator(decoder, this.parameters, tokenMean, this.optimizer);
  }

  static create(dims: Dims, rank: number, quantize: Quantize, checkpointing = false): BenchStep {
    const decoder = randomDecoder(dims, quantize);
    const adapter = METHODS.lora.create(decoder, benchLora(rank), 0);
    // B begins at zero in training, which leaves A without a gradient: as values would a bench hide what is wrong
    // there.
    adapter.parameters.forEach(({ variable }, i) => {
      const values = tf.tensor(weightValues(variable.size, 200 + i), variable.shape);
      variable.assign(values);
      values.dispose();
    });
    return new BenchStep(decoder, adapter, dims, checkpointing);
  }

  get parameters(): tf.Variable[] {
    return this.adapter.parameters.map((p) => p.variable);
  }

  get tokens(): number {
    return this.inputs.ids.length;
  }

  /** Steps are of so many rows from now on. */
  setRows(batch: number): void {
    this.inputs = inputsOf({ ...this.dims, batch });
  }

  /** Mean loss and gradients, the caller's to dispose. */
  gradients(): { loss: tf.Scalar; gradients: tf.Tensor[] } {
    const { loss, gradients } = new EagerAccumulator(this.decoder, this.parameters, tokenMean).add(
      undefined,
      this.inputs,
      1 / this.tokens,
      this.context(),
    );
    return { loss, gradients: [...gradients] };
  }

  /** Dispatches a whole step, as a run of training does. @returns its loss, before the update. */
  run(): tf.Scalar {
    const sum = this.accumulator.add(undefined, this.inputs, 1 / this.tokens, this.context());
    void this.optimizer.step(sum.gradients, LEARNING_RATE, 1);
    const loss = tf.clone(sum.loss);
    this.accumulator.release(sum);
    return loss;
  }

  /** Steps whose commands were recorded and replayed. */
  get replayed(): number {
    return this.accumulator instanceof ReplayedAccumulator ? this.accumulator.replayed : 0;
  }

  private context(): DecoderContext {
    return this.checkpointing ? { gradientCheckpointing: this.adapter.layerParameters } : {};
  }

  dispose(): void {
    this.accumulator.dispose();
    this.optimizer.dispose();
    this.adapter.dispose();
    this.decoder.dispose();
  }
}

function inputsOf({ batch, seq, vocab }: Dims): TokenInputs {
  const tokens = batch * seq;
  const rows = Int32Array.from({ length: tokens }, (_, i) => i);
  const targets = { rows, labels: tokenValues(tokens, vocab, 2), places: rows.slice() };
  return tokenInputs({ batch, seq, ids: tokenValues(tokens, vocab, 1), starts: undefined, targets });
}
