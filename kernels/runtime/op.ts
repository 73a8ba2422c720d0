import * as tf from '@tensorflow/tfjs-core';
import { targetBackend } from '../dry-run/backend.js';

/** Backends that may carry a hand-written kernel. Every other backend runs the reference. */
export const HAND_WRITTEN_BACKENDS = ['wasm', 'webgpu', 'tensorflow'] as const;

export type Inputs = tf.NamedTensorInfoMap;
export type Attrs = tf.NamedAttrMap;

/** A kernel as an op states it: tensors in, one tensor or several out. */
export type KernelFunction<B> = (args: { inputs: Inputs; attrs: Attrs; backend: B }) => tf.TensorInfo | tf.TensorInfo[];

/**
 * One op as the rest of the package sees it. `reference` is made of stock tfjs ops: it is the oracle in tests and what
 * runs where no hand-written kernel exists. `gradient` is null only for ops that are themselves backward passes or
 * updates and that nobody differentiates.
 */
export interface Op {
  readonly name: string;
  readonly reference: (inputs: Record<string, tf.Tensor>, attrs: Attrs) => tf.Tensor | tf.Tensor[];
  readonly wasm?: KernelFunction<unknown>;
  readonly webgpu?: KernelFunction<unknown>;
  readonly tensorflow?: KernelFunction<unknown>;
  readonly gradient: Omit<tf.GradConfig, 'kernelName'> | null;
  /**
   * Given where the backward pass does sums of gradients on its way: it takes the gradient of its first output in parts
   * (see gradients/summands.ts), and the gradient functions of these inputs take a tensor which they add theirs to.
   */
  readonly sumsInto?: readonly string[];
}

export type KernelMode = 'auto' | 'reference';

let mode: KernelMode = 'auto';

/** `reference` forces the stock-op implementation of every op from now on; `auto` takes the hand-written kernels. */
export function setKernelMode(next: KernelMode): void {
  mode = next;
}

/** The mode in force. */
export function kernelMode(): KernelMode {
  return mode;
}

/** Runs `body` with the given kernel mode and puts the earlier one back. */
export function withKernelMode<T>(next: KernelMode, body: () => T): T {
  const before = mode;
  mode = next;
  try {
    return body();
  } finally {
    mode = before;
  }
}

/** The op's own kernel on a backend, where it has one. */
export function handWrittenKernel(op: Op, backend: string): KernelFunction<unknown> | undefined {
  const name = HAND_WRITTEN_BACKENDS.find((known) => known === backend);
  return name === undefined ? undefined : op[name];
}

/**
 * Whether an op that updates tensors writes over them on the current backend, as its kernels do and its reference does
 * not.
 */
export function writesInPlace(op: Op): boolean {
  return mode === 'auto' && handWrittenKernel(op, targetBackend()) !== undefined;
}

const ops = new Map<string, Op>();

/** An op of this package by its name. */
export function registeredOp(name: string): Op | undefined {
  return ops.get(name);
}

/** Tells tfjs about an op on each of the backends this package can run on. */
export function registerOp(op: Op, backends: readonly string[]): void {
  ops.set(op.name, op);
  for (const backendName of backends) {
    const own = handWrittenKernel(op, backendName);
    tf.registerKernel({
      kernelName: op.name,
      backendName,
      kernelFunc: ({ inputs, attrs, backend }) => {
        if (own !== undefined && mode === 'auto') return own({ inputs, attrs: attrs ?? {}, backend });
        return tf.tidy(() => op.reference(inputs as Record<string, tf.Tensor>, attrs ?? {}));
      },
    });
  }
  if (op.gradient !== null) tf.registerGradient({ kernelName: op.name, ...op.gradient });
}

/** Runs a registered op. Inputs that are undefined are left out. */
export function runOp(op: Op, inputs: Record<string, tf.Tensor | undefined>, attrs: Attrs = {}): tf.Tensor {
  return runOpMulti(op, inputs, attrs)[0] as tf.Tensor;
}

/** Runs a registered op that has several outputs. */
export function runOpMulti(op: Op, inputs: Record<string, tf.Tensor | undefined>, attrs: Attrs = {}): tf.Tensor[] {
  // tfjs saves all inputs only of what it takes for an array; it reads them by key all the same.
  const present = (op.gradient?.saveAllInputs === true ? [] : {}) as Record<string, tf.Tensor>;
  for (const [name, tensor] of Object.entries(inputs)) if (tensor !== undefined) present[name] = tensor;
  const out: unknown = tf.engine().runKernel(op.name, present, attrs);
  return (Array.isArray(out) ? out : [out]) as tf.Tensor[];
}

/**
 * A value that several gradient closures of one op share. tfjs's own walk over the tape disposes what one closure made
 * before it calls the next, so the value is made again when that has happened.
 */
export function shared(make: () => tf.Tensor): () => tf.Tensor {
  let value: tf.Tensor | undefined;
  return () => {
    if (value === undefined || value.isDisposed) value = make();
    return value;
  };
}

/**
 * The like of `shared` for an op with several outputs: takes the i-th of one run, which is repeated when that output is
 * gone.
 */
export function sharedMany(make: () => tf.Tensor[]): (i: number) => tf.Tensor {
  let values: tf.Tensor[] | undefined;
  return (i) => {
    if (values === undefined || values[i]?.isDisposed !== false) values = make();
    return values[i] as tf.Tensor;
  };
}
