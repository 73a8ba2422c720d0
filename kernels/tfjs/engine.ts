import * as tf from '@tensorflow/tfjs-core';

/** One operation of the recorded forward pass, as tfjs's engine keeps it. */
export interface TapeNode {
  readonly id: number;
  readonly kernelName: string;
  readonly inputs: tf.NamedTensorMap;
  readonly outputs: tf.Tensor[];
  saved?: tf.Tensor[];
  gradient?: (dys: (tf.Tensor | tf.Tensor[] | null)[]) => Record<string, (before?: tf.Tensor) => tf.Tensor>;
}

/** The members of tfjs's engine that this package uses and tfjs does not document. */
interface EngineMembers {
  readonly backend: tf.KernelBackend;
  readonly registry: Readonly<Record<string, tf.KernelBackend>>;
  readonly state: {
    activeTape: TapeNode[] | null | undefined;
    gradientDepth: number;
    kernelDepth: number;
    readonly tensorInfo: WeakMap<object, { readonly backend: tf.KernelBackend }>;
  };
  clone(x: tf.Tensor): tf.Tensor;
  makeTensorFromTensorInfo(info: tf.TensorInfo): tf.Tensor;
  saveTensorsForBackwardMode(tensors: readonly tf.Tensor[]): tf.Tensor[];
}

function members(): EngineMembers {
  return tf.engine() as unknown as EngineMembers;
}

/** Runs `body` and appends its operations to `tape`, whatever tape is active around it. */
export function withTape<T>(tape: TapeNode[], body: () => T): T {
  const { state } = members();
  const outer = { activeTape: state.activeTape, gradientDepth: state.gradientDepth, kernelDepth: state.kernelDepth };
  state.activeTape = tape;
  state.gradientDepth = 1;
  state.kernelDepth = 0;
  try {
    return body();
  } finally {
    Object.assign(state, outer);
  }
}

/** Runs `body` without recording its operations on any tape. */
export function withoutTape<T>(body: () => T): T {
  const { state } = members();
  const { gradientDepth } = state;
  state.gradientDepth = 0;
  try {
    return body();
  } finally {
    state.gradientDepth = gradientDepth;
  }
}

/** Whether tfjs has created this backend, not merely registered its factory. */
export function backendIsCreated(name: string): boolean {
  return name in members().registry;
}

/**
 * What an op saves for its backward pass becomes another tensor over the same memory, and no more. tfjs runs an op for
 * each, with a node on the tape: most ops of a step of training would be these.
 */
export function saveWithoutOps(): void {
  const engine = members();
  engine.saveTensorsForBackwardMode = (tensors) =>
    tensors.map((x) => {
      const { backend } = engine;
      // What another backend holds is moved by an op.
      if (x.dtype === 'string' || x.dtype === 'complex64' || engine.state.tensorInfo.get(x.dataId)?.backend !== backend)
        return tf.keep(engine.clone(x));
      backend.incRef(x.dataId);
      return tf.keep(engine.makeTensorFromTensorInfo({ dataId: x.dataId, shape: x.shape, dtype: x.dtype }));
    });
}
