import * as tf from '@tensorflow/tfjs-core';
import { valueAndGradients, type Targets } from '../../kernels/index.js';
import type { Adapter } from '../adapters/adapter.js';
import { METHODS } from '../adapters/registry.js';
import type { Decoder } from '../model/decoder.js';
import { AdamW } from '../train/optimizer.js';
import { randomDecoder, type Quantize } from './decoder.js';
import { tokenValues, weightValues } from './random.js';
import type { Dims } from './shapes.js';

const LEARNING_RATE = 1e-3;
const ADAMW = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.01 };

/** The options of the adapters that are measured: factors on all linear layers. */
export function benchLora(rank: number): Parameters<typeof METHODS.lora.create>[1] {
  return { r: rank, lora_alpha: 2 * rank, lora_dropout: 0, target_modules: 'all-linear', use_rslora: false, init_lora_weights: true };
}

/**
 * One training step as scripts/bench/torch_step.py does it: a Llama-shaped decoder of random frozen weights, LoRA of scale 2 on all seven linear
 * layers, both factors random, cross-entropy at every position against random labels, AdamW on the factors.
 */
export class BenchStep {
  private readonly ids: tf.Tensor1D;
  private readonly targets: Targets;
  private readonly optimizer: AdamW;

  private constructor(
    readonly decoder: Decoder,
    readonly adapter: Adapter,
    private readonly dims: Dims,
    private readonly checkpointing: boolean,
  ) {
    const tokens = dims.batch * dims.seq;
    this.ids = tf.keep(tf.tensor1d(tokenValues(tokens, dims.vocab, 1), 'int32'));
    this.targets = { rows: Int32Array.from({ length: tokens }, (_, i) => i), labels: tokenValues(tokens, dims.vocab, 2) };
    this.optimizer = new AdamW(this.parameters, ADAMW);
  }

  static create(dims: Dims, rank: number, quantize: Quantize, checkpointing = false): BenchStep {
    const decoder = randomDecoder(dims, quantize);
    const adapter = METHODS.lora.create(decoder, benchLora(rank), 0);
    // B begins at zero in training, which leaves A without a gradient: as values would a bench hide what is wrong there.
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
    return this.dims.batch * this.dims.seq;
  }

  /** Mean loss and gradients, the caller's to dispose. */
  gradients(): { loss: tf.Scalar; gradients: tf.Tensor[] } {
    const { batch, seq } = this.dims;
    const mean = (): tf.Scalar => {
      const context = this.checkpointing ? { checkpointParameters: this.adapter.layerParameters } : {};
      const hidden = this.decoder.hidden({ ids: this.ids, batch, length: seq }, context);
      return tf.mul(this.decoder.head.lossSum(hidden, this.targets, true), 1 / this.tokens);
    };
    const { value, gradients } = valueAndGradients(mean, this.parameters);
    return { loss: value, gradients };
  }

  /** Dispatches a whole step. @returns its loss, before the update. */
  run(): tf.Scalar {
    const { loss, gradients } = this.gradients();
    this.optimizer.step(gradients, LEARNING_RATE, 1);
    tf.dispose(gradients);
    return loss;
  }

  dispose(): void {
    this.optimizer.dispose();
    this.adapter.dispose();
    this.decoder.dispose();
    this.ids.dispose();
  }
}
