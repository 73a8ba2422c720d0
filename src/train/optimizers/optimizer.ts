import type * as tf from '@tensorflow/tfjs-core';
import { FlatTensors, type Gradients } from '../../../kernels/index.js';

/** Settings that stay the same over a run. Names as in the configuration. */
export interface AdamWOptions {
  readonly adam_beta1: number;
  readonly adam_beta2: number;
  readonly adam_epsilon: number;
  readonly weight_decay: number;
}

/** Those of all optimisers; each reads its own. */
export interface OptimizerOptions extends AdamWOptions {
  /** Of `sgd`. Default 0. */
  readonly momentum?: number;
}

/** A float32 tensor that an optimiser keeps for each parameter from step to step; zeros before the first. */
export interface OptimizerSlot {
  /** As PyTorch's optimiser of that name calls it: `<key>.<name>` in optimizer.safetensors. */
  readonly name: string;
  /** Its shape for a parameter's. */
  readonly shape: (parameter: readonly number[]) => readonly number[];
}

/** A slot with one value for each of the parameter's. */
export function slotLike(name: string): OptimizerSlot {
  return { name, shape: (parameter) => parameter };
}

/** One parameter of an update. */
export interface UpdateItem {
  /** Written in place. */
  readonly parameter: tf.Variable;
  readonly gradient: tf.Tensor;
  /** In the order of the rule's slots; written in place. */
  readonly slots: readonly tf.Variable[];
  /** A factor for the learning rate of this parameter. */
  readonly learningRateScale: number;
  /** Whether weight decay pulls at it. */
  readonly decays: boolean;
}

export interface UpdateStep {
  readonly learningRate: number;
  /** The number of this update, from 1. */
  readonly step: number;
  /** A factor for the gradients; a scalar tensor is not read back. */
  readonly gradientScale: number | tf.Scalar;
  /** Gives a variable of an item other values: for rules that are not `inPlace`. */
  readonly store: (variable: tf.Variable, value: tf.Tensor) => void;
}

/**
 * What sets one optimiser apart from another: what it keeps, and the arithmetic of an update. Where the slots are
 * (on the device, in flat memory, in host memory) is none of its business.
 */
export interface UpdateRule {
  readonly slots: readonly OptimizerSlot[];
  /** Whether `update` writes by a kernel of its own; else it makes tensors of the size of an item, and stores them. */
  readonly inPlace: boolean;
  update(items: readonly UpdateItem[], step: UpdateStep): void;
}

/** What changes the parameters of a run, in place. */
export interface Optimizer {
  /**
   * One update; `gradients` in the order of the parameters, scaled by `gradientScale` (a scalar tensor is not read
   * back). A promise is returned only where values have to come back from the device first.
   */
  step(gradients: Gradients, learningRate: number, gradientScale: number | tf.Scalar): void | Promise<void>;
  /** What it has gathered so far, on the host. */
  state(): Promise<OptimizerState>;
  /** Goes on from a state; sizes are those of the parameters. */
  restore(state: OptimizerState): void;
  dispose(): void;
}

/** Values of the slots of one parameter, by the names of the slots, each in its order of values. */
export type SlotValues = Readonly<Record<string, Float32Array>>;

/** The same for one rule wherever its slots are, so that a run may go on with them elsewhere. */
export interface OptimizerState {
  /** Updates made: what the correction of the moments' bias depends on. */
  readonly steps: number;
  /** In the order of the parameters. */
  readonly slots: readonly SlotValues[];
}

/** Factors and exceptions of parameters, in their order. */
export interface ParameterOptions {
  /** Factors on the learning rate; 1 where absent. */
  readonly learningRateScales?: readonly number[] | undefined;
  /** Which of them do not decay; none unless given. */
  readonly spared?: readonly boolean[] | undefined;
}

/** Bytes of all slots of a parameter of a shape. */
export function slotBytes(slots: readonly OptimizerSlot[], parameter: readonly number[]): number {
  return slots.reduce((sum, { shape }) => sum + 4 * shape(parameter).reduce((size, n) => size * n, 1), 0);
}

/** The gradient of parameter i; of flat gradients a view, which the caller disposes of. */
export function gradientOf(gradients: Gradients, i: number): tf.Tensor {
  return gradients instanceof FlatTensors ? gradients.view(i) : (gradients[i] as tf.Tensor);
}
