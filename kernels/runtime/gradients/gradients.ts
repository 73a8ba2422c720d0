import * as tf from '@tensorflow/tfjs-core';
import { withoutTape, withTape, type TapeNode } from '../../tfjs/engine.js';
import { backward, release } from './backward.js';

/**
 * Runs `forward` and returns its value with the gradients with respect to `parameters`, in their order.
 *
 * Differs from `tf.grads` in what it frees: each recorded step's saved tensors and incoming gradient are disposed as
 * soon as they have been used, where tfjs keeps all of them to the end. Only steps on a path from a parameter to the
 * value are differentiated, so nothing is computed for frozen weights.
 *
 * @returns value (a scalar; of more entries, those of their sum are the gradients), one gradient a parameter (same shape;
 * zeros where the value does not depend on it). The caller disposes all.
 */
export function valueAndGradients<T extends tf.Tensor>(
  forward: () => T,
  parameters: readonly tf.Tensor[],
): { value: T; gradients: tf.Tensor[] } {
  const { value, tape } = record(forward);
  try {
    const seed = tf.onesLike(value);
    const gradients = backward(tape, value, seed, parameters);
    return { value: value as T, gradients };
  } catch (error) {
    value.dispose();
    throw error;
  } finally {
    for (const node of tape) release(node);
  }
}

/**
 * Runs `forward(x)` without keeping anything of it but x and the result, and runs it again when its gradient is asked
 * for (gradient checkpointing; Chen et al. 2016, arXiv:1604.06174). `parameters` are the tensors besides x that the
 * gradient reaches; `constants` are those that it does not reach and that may be gone by then: `forward` gets them, and
 * later copies of them. `again` is what is run for the gradient in its place, where it knows how to do without values
 * that only the result is made of.
 */
export function checkpointed(
  forward: (x: tf.Tensor, ...constants: tf.Tensor[]) => tf.Tensor,
  x: tf.Tensor,
  parameters: readonly tf.Tensor[],
  constants: readonly tf.Tensor[] = [],
  again = forward,
): tf.Tensor {
  const run = tf.customGrad((...args: (tf.Tensor | tf.GradSaveFunc)[]) => {
    const save = args[args.length - 1] as tf.GradSaveFunc;
    const input = args[0] as tf.Tensor;
    save([input, ...constants]);
    const value = forward(input, ...constants);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [from, ...kept] = saved as [tf.Tensor, ...tf.Tensor[]];
      const recorded = record(() => again(from, ...kept));
      try {
        return backward(recorded.tape, recorded.value, dy.clone(), [from, ...parameters]);
      } finally {
        recorded.value.dispose();
        for (const node of recorded.tape) release(node);
      }
    };
    return { value, gradFunc };
  });
  return run(x, ...parameters);
}

/** A recorded pass whose backward pass can be run again and again. */
export interface Pullback {
  readonly value: tf.Tensor;
  /** Gradients of Σ dy · value with respect to the parameters, in their order; the caller disposes them. */
  pull(dy: tf.Tensor): tf.Tensor[];
  dispose(): void;
}

/** Runs `forward` once and keeps what its backward pass needs: that pass alone is what a bench times. */
export function pullback(forward: () => tf.Tensor, parameters: readonly tf.Tensor[]): Pullback {
  const { value, tape } = record(forward);
  return {
    value,
    pull: (dy) => backward(tape, value, dy.clone(), parameters, true),
    dispose() {
      value.dispose();
      for (const node of tape) release(node);
    },
  };
}

/** Runs `body` without a tape: what comes out is a constant to every gradient. */
export function untracked<T extends tf.TensorContainer>(body: () => T): T {
  return withoutTape(() => tf.tidy(body));
}

/** Runs `body` with a tape of its own, whatever tape is active around it. */
function record(body: () => tf.Tensor): { value: tf.Tensor; tape: TapeNode[] } {
  const tape: TapeNode[] = [];
  try {
    return { value: withTape(tape, () => tf.tidy(body)), tape };
  } catch (error) {
    for (const node of tape) release(node);
    throw error;
  }
}
