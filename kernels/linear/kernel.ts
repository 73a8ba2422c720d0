import * as tf from '@tensorflow/tfjs-core';
import { matmul } from '../matmul/kernel.js';
import { runOpMulti, sharedMany, type Attrs, type Op } from '../runtime/op.js';
import type { FrozenWeight } from '../types.js';
import { lowRankGradOp, linearGradOp } from './backward.js';
import {
  inputName,
  memberAttrs,
  membersOf,
  namedMember,
  namedTensors,
  WEIGHT_NAMES,
  type LinearAttrs,
  type LinearMember,
  type MemberName,
  type MemberTensors,
} from './linear-group.js';
import { linearReference } from './reference.js';
import { linearTensorflow } from './tensorflow.js';
import { linearWasm } from './wasm.js';
import { linearWebgpu } from './webgpu.js';

export type LinearOptions = Omit<LinearMember, 'weight'>;

/** Up to this many tokens products are limited by reading the weights, of which members share nothing. */
const FEW_TOKENS = 8;

/**
 * Linear layer with an optional low-rank update: y = x·Wᵀ + bias + scale · (x'·Aᵀ)·Bᵀ with x' = loraInput or x.
 *
 * Differentiable in x, loraInput, A, B and bias, and in the values of a dense weight; never in a 4-bit one, which is
 * decoded on the fly. What nobody asks for is not computed, but for the gradients of A and B, which come with those of
 * x.
 *
 * @param x `[tokens, in]` float32
 * @param weight W `[out, in]`
 * @returns `[tokens, out]`
 * Source: Hu et al. 2021, arXiv:2106.09685; Dettmers et al. 2023, arXiv:2305.14314.
 */
export function linear(x: tf.Tensor2D, weight: FrozenWeight, options: LinearOptions = {}): tf.Tensor2D {
  return together(x, [{ weight, ...options }])[0] as tf.Tensor2D;
}

/**
 * Linear layers that read the same x (query, key and value; gate and up), as one op: x is read, or packed, once, and
 * the gradient of x is summed up where it is made. Like `linear` else.
 *
 * @returns `[tokens, out]` of each
 */
export function linears(x: tf.Tensor2D, members: readonly LinearMember[]): tf.Tensor2D[] {
  if (x.shape[0] <= FEW_TOKENS) return members.map(({ weight, ...options }) => linear(x, weight, options));
  return together(x, members);
}

function together(x: tf.Tensor2D, members: readonly LinearMember[]): tf.Tensor2D[] {
  for (const member of members) assertFits(x, member);
  const inputs = Object.assign({ x }, ...members.map(namedMember)) as Record<string, tf.Tensor>;
  const attrs: LinearAttrs = { members: memberAttrs(members), inputNames: Object.keys(inputs) };
  const lowRank = members.some(({ lora }) => lora !== undefined);
  const outputs = runOpMulti(lowRank ? linearOp : plainLinearOp, inputs, attrs as unknown as Attrs) as tf.Tensor2D[];
  if (!lowRank) return outputs;
  // The tape holds on to the array itself.
  const [xa, ...ys] = outputs;
  xa?.dispose();
  return ys;
}

function assertFits(x: tf.Tensor2D, { weight, bias, lora, loraInput }: LinearMember): void {
  const [out, inner] = weight.shape;
  const fits =
    x.shape[1] === inner &&
    (bias === undefined || bias.shape[0] === out) &&
    (lora === undefined ||
      (lora.a.shape[1] === inner && lora.b.shape[0] === out && lora.a.shape[0] === lora.b.shape[1])) &&
    (loraInput === undefined || (lora !== undefined && tf.util.arraysEqual(loraInput.shape, x.shape)));
  tf.util.assert(fits, () => {
    const given = { x, bias, 'lora.a': lora?.a, 'lora.b': lora?.b, loraInput };
    const shapes = Object.entries(given).flatMap(([name, tensor]) =>
      tensor === undefined ? [] : [`${name} [${tensor.shape.join(', ')}]`],
    );
    return `linear: a weight [${out}, ${inner}] does not fit ${shapes.join(', ')}`;
  });
}

/**
 * Inputs: x; of each member, its number behind their names, w or those of LowrankDequantize; optionally bias; a and b;
 * loraInput. Attributes: `LinearAttrs`. Outputs: where a member has a and b, xa = x'·Aᵀ of all of them side by side,
 * `[tokens, Σ r]`; y of each.
 */
export const linearOp = makeOp('LowrankLinear', true);

/** LowrankLinear without low-rank updates. */
export const plainLinearOp = makeOp('LowrankPlainLinear', false);

function makeOp(name: string, lowRank: boolean): Op {
  return {
    name,
    reference: linearReference,
    wasm: linearWasm,
    webgpu: linearWebgpu,
    tensorflow: linearTensorflow,
    gradient: {
      saveAllInputs: true,
      outputsToSave: [lowRank],
      gradFunc: (given, saved, attrs) => {
        const linearAttrs = attrs as unknown as LinearAttrs;
        const dys = (Array.isArray(given) ? given : [given]).slice(lowRank ? 1 : 0) as (tf.Tensor2D | null)[];
        const inputs = Object.fromEntries(linearAttrs.inputNames.map((input, i) => [input, saved[i] as tf.Tensor2D]));
        return linearGradients(
          dys,
          inputs,
          lowRank ? (saved[linearAttrs.inputNames.length] as tf.Tensor2D) : undefined,
          linearAttrs,
        );
      },
    },
  };
}

function linearGradients(
  given: readonly (tf.Tensor2D | null)[],
  inputs: Record<string, tf.Tensor2D>,
  xa: tf.Tensor2D | undefined,
  attrs: LinearAttrs,
): Record<string, () => tf.Tensor> {
  const { x, ...rest } = inputs as Record<string, tf.Tensor2D> & { x: tf.Tensor2D };
  const members = membersOf(rest, attrs.members.length);
  // An output that nothing has used has no gradient.
  const dys = given.map(
    (dy, i) => dy ?? tf.zeros<tf.Rank.R2>([x.shape[0], (attrs.members[i] as { rows: number }).rows]),
  );
  const each = (names: readonly MemberName[]): Record<string, tf.Tensor> =>
    Object.assign(
      {},
      ...members.map((member, i) => namedTensors<tf.Tensor>({ ...member, dy: dys[i] }, [...names, 'dy'], i)),
    ) as Record<string, tf.Tensor>;
  // dyb, then dB of each.
  const narrow = sharedMany(() => runOpMulti(lowRankGradOp, { xa, ...each(['b']) }, attrs as unknown as Attrs));
  const wide = (withX: boolean): tf.Tensor[] => {
    const low = xa === undefined ? {} : { x, dyb: narrow(0) };
    return runOpMulti(linearGradOp, { ...low, ...each([...WEIGHT_NAMES, 'a', 'loraInput']) }, {
      ...attrs,
      withX,
    } as unknown as Attrs);
  };
  // Whoever wants the gradient of x asks for it first.
  let withX = false;
  const all = sharedMany(() => wide(withX));
  const at = (name: MemberName, i: number): tf.Tensor => all(gradientNames(members, withX).indexOf(inputName(name, i)));
  const gradients: Record<string, () => tf.Tensor> = {
    x: () => {
      withX = true;
      return all(0);
    },
  };
  let updates = 0;
  members.forEach((member, i) => {
    const dy = dys[i] as tf.Tensor2D;
    const { w, bias, a, loraInput } = member;
    if (w !== undefined) gradients[inputName('w', i)] = () => matmul(dy, x, 'tn');
    if (bias !== undefined)
      gradients[inputName('bias', i)] = () => tf.reshape(matmul(tf.ones([1, dy.shape[0]]), dy, 'nn'), bias.shape);
    if (a === undefined) return;
    const output = ++updates;
    gradients[inputName('a', i)] = () => at('a', i);
    gradients[inputName('b', i)] = () => narrow(output);
    if (loraInput !== undefined) gradients[inputName('loraInput', i)] = () => at('loraInput', i);
  });
  return gradients;
}

/** What the outputs of LowrankLinearGrad are gradients of. */
function gradientNames(members: readonly MemberTensors<tf.Tensor>[], withX: boolean): string[] {
  const own = members.flatMap(({ a, loraInput }, i) =>
    a === undefined ? [] : [inputName('a', i), ...(loraInput === undefined ? [] : [inputName('loraInput', i)])],
  );
  return [...(withX ? ['x'] : []), ...own];
}
