import * as tf from '@tensorflow/tfjs-core';
import { DRY_RUN, type DryRunBackend } from '../../dry-run/backend.js';
import type { TapeNode } from '../../tfjs/engine.js';
import { registeredOp } from '../op.js';
import { MOST_PARTS } from './summands.js';

/**
 * Gradients by tensor id. One that is the sum of several is kept in up to `MOST_PARTS` parts where the op behind the
 * tensor adds them up itself, and as one tensor elsewhere.
 */
type Incoming = Map<number, tf.Tensor[]>;

/**
 * Walks the tape backwards from `value`, whose gradient is `seed`; both `seed` and, unless it is kept, the tape are
 * consumed.
 * @returns gradients of the parameters, in their order; zeros where there is none
 */
export function backward(
  tape: readonly TapeNode[],
  value: tf.Tensor,
  seed: tf.Tensor,
  parameters: readonly tf.Tensor[],
  keep = false,
): tf.Tensor[] {
  const incoming: Incoming = new Map([[value.id, [seed]]]);
  const reached = new Set(parameters.map((p) => p.id));
  const wanted = tape.map((node) => {
    const names = Object.keys(node.inputs).filter((name) => reached.has((node.inputs[name] as tf.Tensor).id));
    if (names.length > 0) for (const output of node.outputs) reached.add(output.id);
    return names;
  });
  const isParameter = new Set(parameters.map((p) => p.id));
  const takesParts = new Set(
    tape.flatMap(({ kernelName, outputs: [first] }) =>
      first === undefined || registeredOp(kernelName)?.sumsInto === undefined ? [] : [first.id],
    ),
  );
  const mostParts = (id: number): number => (takesParts.has(id) && !isParameter.has(id) ? MOST_PARTS : 1);
  for (let i = tape.length - 1; i >= 0; i--) {
    const node = tape[i] as TapeNode;
    const names = wanted[i] as string[];
    const dys = node.outputs.map((output) => incoming.get(output.id) ?? []);
    if (names.length > 0 && dys.some((parts) => parts.length > 0)) differentiate(incoming, node, names, dys, mostParts);
    for (const output of node.outputs) {
      if (isParameter.has(output.id)) continue;
      tf.dispose(incoming.get(output.id) ?? []);
      incoming.delete(output.id);
    }
    if (!keep) release(node);
  }
  const gradients = parameters.map((p) => incoming.get(p.id)?.[0] ?? tf.zerosLike(p));
  for (const [id, parts] of incoming) if (!isParameter.has(id)) tf.dispose(parts);
  return gradients;
}

/** Frees what a step has kept for its gradient. */
export function release(node: TapeNode): void {
  for (const tensor of node.saved ?? []) tensor.dispose();
  delete node.saved;
}

function differentiate(
  incoming: Incoming,
  node: TapeNode,
  names: readonly string[],
  dys: readonly tf.Tensor[][],
  mostParts: (id: number) => number,
): void {
  const { gradient, kernelName } = node;
  if (gradient === undefined) throw new Error(`no gradient is registered for '${kernelName}'`);
  const sumsInto = registeredOp(kernelName)?.sumsInto;
  const idOf = (name: string): number => (node.inputs[name] as tf.Tensor).id;
  // What an input has already, where the op adds its own to it.
  const before = names.map((name) => (sumsInto?.includes(name) === true ? incoming.get(idOf(name))?.pop() : undefined));
  const made = tf.tidy(() => {
    const closures = gradient(
      dys.map((parts, i) => (parts.length > 1 ? parts : (parts[0] ?? withoutValues(node.outputs[i] as tf.Tensor)))),
    );
    return names.map((name, k) => {
      const closure = closures[name];
      if (closure === undefined) throw new Error(`'${kernelName}' has no gradient for its input '${name}'`);
      return closure(before[k]);
    });
  });
  tf.dispose(before.filter((t) => t !== undefined));
  const taken = new Set(dys.flat());
  names.forEach((name, k) => {
    const made1 = made[k] as tf.Tensor;
    // A gradient function may hand its own input back, or one tensor for two inputs: each entry needs a tensor of its
    // own.
    const own = taken.has(made1) ? made1.clone() : made1;
    taken.add(own);
    addPart(incoming, idOf(name), own, mostParts(idOf(name)));
  });
}

/**
 * The gradient of an output that nothing has used. tfjs makes an array of zeros on the host for null; a dry run needs
 * its size alone.
 */
function withoutValues({ shape, dtype }: tf.Tensor): tf.Tensor | null {
  return tf.getBackend() === DRY_RUN ? (tf.backend() as DryRunBackend).tensor(shape, dtype as 'float32') : null;
}

function addPart(incoming: Incoming, id: number, part: tf.Tensor, most: number): void {
  const parts = incoming.get(id) ?? [];
  incoming.set(id, parts);
  if (parts.length < most) {
    parts.push(part);
    return;
  }
  const last = parts.pop() as tf.Tensor;
  parts.push(tf.add(last, part));
  last.dispose();
  part.dispose();
}
