import * as tf from '@tensorflow/tfjs-core';

/** A step of the recorded forward pass, as tfjs's engine keeps it. */
interface TapeNode {
  readonly id: number;
  readonly kernelName: string;
  readonly inputs: tf.NamedTensorMap;
  readonly outputs: tf.Tensor[];
  saved?: tf.Tensor[];
  gradient?: (dys: (tf.Tensor | null)[]) => Record<string, () => tf.Tensor>;
}

/** The part of tfjs's engine state that holds the tape. This file is the only one that touches it. */
interface TapeState {
  activeTape: TapeNode[] | null | undefined;
  gradientDepth: number;
  kernelDepth: number;
}

function tapeState(): TapeState {
  return (tf.engine() as unknown as { state: TapeState }).state;
}

/**
 * Runs `forward` and returns its value with the gradients with respect to `parameters`, in their order.
 *
 * Differs from `tf.grads` in what it frees: each recorded step's saved tensors and incoming gradient are disposed as soon as
 * they have been used, where tfjs keeps all of them to the end. Only steps on a path from a parameter to the value are
 * differentiated, so nothing is computed for frozen weights.
 *
 * @returns value (scalar), one gradient a parameter (same shape; zeros where the value does not depend on it). The caller disposes all.
 */
export function valueAndGradients(forward: () => tf.Scalar, parameters: readonly tf.Tensor[]): { value: tf.Scalar; gradients: tf.Tensor[] } {
  const { value, tape } = record(forward);
  try {
    const seed = tf.onesLike(value);
    const gradients = backward(tape, new Map([[value.id, seed]]), parameters);
    return { value: value as tf.Scalar, gradients };
  } catch (error) {
    value.dispose();
    throw error;
  } finally {
    for (const node of tape) release(node);
  }
}

/**
 * Runs `forward(x)` without keeping anything of it but x and the result, and runs it again when its gradient is asked for
 * (gradient checkpointing; Chen et al. 2016, arXiv:1604.06174). `parameters` are the tensors besides x that the gradient reaches;
 * `constants` are those that it does not reach and that may be gone by then: `forward` gets them, and later copies of them.
 */
export function checkpointed(
  forward: (x: tf.Tensor, ...constants: tf.Tensor[]) => tf.Tensor,
  x: tf.Tensor,
  parameters: readonly tf.Tensor[],
  constants: readonly tf.Tensor[] = [],
): tf.Tensor {
  const run = tf.customGrad((...args: (tf.Tensor | tf.GradSaveFunc)[]) => {
    const save = args[args.length - 1] as tf.GradSaveFunc;
    const input = args[0] as tf.Tensor;
    save([input, ...constants]);
    const value = forward(input, ...constants);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [again, ...kept] = saved as [tf.Tensor, ...tf.Tensor[]];
      const recorded = record(() => forward(again, ...kept));
      try {
        return backward(recorded.tape, new Map([[recorded.value.id, dy.clone()]]), [again, ...parameters]);
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
    pull: (dy) => backward(tape, new Map([[value.id, dy.clone()]]), parameters, true),
    dispose() {
      value.dispose();
      for (const node of tape) release(node);
    },
  };
}

/** Runs `body` with a tape of its own, whatever tape is active around it. */
function record(body: () => tf.Tensor): { value: tf.Tensor; tape: TapeNode[] } {
  const state = tapeState();
  const outer = { activeTape: state.activeTape, gradientDepth: state.gradientDepth, kernelDepth: state.kernelDepth };
  const tape: TapeNode[] = [];
  state.activeTape = tape;
  state.gradientDepth = 1;
  state.kernelDepth = 0;
  try {
    return { value: tf.tidy(body), tape };
  } catch (error) {
    for (const node of tape) release(node);
    throw error;
  } finally {
    Object.assign(state, outer);
  }
}

function release(node: TapeNode): void {
  for (const tensor of node.saved ?? []) tensor.dispose();
  delete node.saved;
}

/** Walks the tape backwards. `incoming` holds the gradients of the outputs by tensor id and is consumed; so is the tape, unless it is kept. */
function backward(tape: readonly TapeNode[], incoming: Map<number, tf.Tensor>, parameters: readonly tf.Tensor[], keep = false): tf.Tensor[] {
  const reached = new Set(parameters.map((p) => p.id));
  const wanted = tape.map((node) => {
    const names = Object.keys(node.inputs).filter((name) => reached.has((node.inputs[name] as tf.Tensor).id));
    if (names.length > 0) for (const output of node.outputs) reached.add(output.id);
    return names;
  });
  const isParameter = new Set(parameters.map((p) => p.id));
  for (let i = tape.length - 1; i >= 0; i--) {
    const node = tape[i] as TapeNode;
    const names = wanted[i] as string[];
    const dys = node.outputs.map((output) => incoming.get(output.id) ?? null);
    if (names.length > 0 && dys.some((dy) => dy !== null)) accumulate(incoming, node, names, dys);
    for (const output of node.outputs) {
      if (isParameter.has(output.id)) continue;
      incoming.get(output.id)?.dispose();
      incoming.delete(output.id);
    }
    if (!keep) release(node);
  }
  const gradients = parameters.map((p) => incoming.get(p.id) ?? tf.zerosLike(p));
  for (const [id, tensor] of incoming) if (!isParameter.has(id)) tensor.dispose();
  return gradients;
}

function accumulate(incoming: Map<number, tf.Tensor>, node: TapeNode, names: readonly string[], dys: (tf.Tensor | null)[]): void {
  if (node.gradient === undefined) throw new Error(`no gradient is registered for '${node.kernelName}'`);
  const gradient = node.gradient;
  const made = tf.tidy(() => {
    const closures = gradient(dys);
    return names.map((name) => {
      const closure = closures[name];
      if (closure === undefined) throw new Error(`'${node.kernelName}' has no gradient for its input '${name}'`);
      return closure();
    });
  });
  const taken = new Set<tf.Tensor | null>(dys);
  names.forEach((name, k) => {
    const input = node.inputs[name] as tf.Tensor;
    const gradientOfInput = made[k] as tf.Tensor;
    const before = incoming.get(input.id);
    // A gradient function may hand its own input back, or one tensor for two inputs: each entry needs a tensor of its own.
    const own = taken.has(gradientOfInput) ? gradientOfInput.clone() : gradientOfInput;
    taken.add(own);
    if (before === undefined) {
      incoming.set(input.id, own);
    } else {
      incoming.set(input.id, tf.add(before, own));
      before.dispose();
      own.dispose();
    }
  });
}
