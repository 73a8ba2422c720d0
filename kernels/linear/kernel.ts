import * as tf from '@tensorflow/tfjs-core';
import { matmul } from '../matmul/kernel.js';
import { quantizedAttrs, quantizedInputs } from '../nf4-dequantize/weight.js';
import { runOp, runOpMulti, shared, type Attrs, type Op } from '../runtime/op.js';
import type { FrozenWeight, LowRank } from '../types.js';
import { linearGradReference, linearReference } from './reference.js';
import { linearGradTensorflow, linearTensorflow } from './tensorflow.js';
import { linearGradWasm, linearWasm } from './wasm-linear.js';
import { linearGradWebgpu, linearWebgpu } from './webgpu.js';

export interface LinearOptions {
  /** `[out]` */
  readonly bias?: tf.Tensor1D | undefined;
  readonly lora?: LowRank | undefined;
  /** What the low-rank update reads instead of x (x after dropout), `[tokens, in]`. */
  readonly loraInput?: tf.Tensor2D | undefined;
}

/**
 * Linear layer with an optional low-rank update: y = x·Wᵀ + bias + scale · (x'·Aᵀ)·Bᵀ with x' = loraInput or x.
 *
 * Differentiable in x, loraInput, A, B and bias, and in the values of a dense weight; never in a 4-bit one, which is decoded on the
 * fly. What nobody asks for is not computed.
 *
 * @param x `[tokens, in]` float32
 * @param weight W `[out, in]`
 * @returns `[tokens, out]`
 * Source: Hu et al. 2021, arXiv:2106.09685; Dettmers et al. 2023, arXiv:2305.14314.
 */
export function linear(x: tf.Tensor2D, weight: FrozenWeight, options: LinearOptions = {}): tf.Tensor2D {
  const { bias, lora, loraInput } = options;
  const [out, inner] = weight.shape;
  const fits =
    x.shape[1] === inner &&
    (bias === undefined || bias.shape[0] === out) &&
    (lora === undefined || (lora.a.shape[1] === inner && lora.b.shape[0] === out && lora.a.shape[0] === lora.b.shape[1])) &&
    (loraInput === undefined || (lora !== undefined && tf.util.arraysEqual(loraInput.shape, x.shape)));
  tf.util.assert(fits, () => {
    const given = { x, bias, 'lora.a': lora?.a, 'lora.b': lora?.b, loraInput };
    const shapes = Object.entries(given).flatMap(([name, tensor]) => (tensor === undefined ? [] : [`${name} [${tensor.shape.join(', ')}]`]));
    return `linear: a weight [${out}, ${inner}] does not fit ${shapes.join(', ')}`;
  });
  const base = weight.kind === 'dense' ? { w: weight.values } : quantizedInputs(weight);
  const low = lora === undefined ? {} : { a: lora.a, b: lora.b, ...(loraInput === undefined ? {} : { loraInput }) };
  const inputs = { x, ...base, ...(bias === undefined ? {} : { bias }), ...low };
  const attrs = {
    ...(weight.kind === 'dense' ? { rows: out, cols: inner } : quantizedAttrs(weight)),
    scale: lora?.scale ?? 0,
    inputNames: Object.keys(inputs),
  };
  const [y, xa] = runOpMulti(linearOp, inputs, attrs) as [tf.Tensor2D, tf.Tensor2D?];
  xa?.dispose();
  return y;
}

/**
 * Inputs: x; w, or those of LowrankDequantize; optionally bias; a and b; loraInput. Attributes: rows, cols and, for a 4-bit weight,
 * those of LowrankDequantize; scale; inputNames, in the order of the inputs. Outputs: y and, with a and b, xa = x'·Aᵀ `[tokens, r]`.
 */
export const linearOp: Op = {
  name: 'LowrankLinear',
  reference: linearReference,
  wasm: linearWasm,
  webgpu: linearWebgpu,
  tensorflow: linearTensorflow,
  gradient: {
    saveAllInputs: true,
    outputsToSave: [false, true],
    gradFunc: (dys, saved, attrs) => {
      const dy = (Array.isArray(dys) ? dys[0] : dys) as tf.Tensor2D;
      const names = (attrs as { inputNames: string[] }).inputNames;
      const inputs = Object.fromEntries(names.map((name, i) => [name, saved[i] as tf.Tensor2D]));
      return linearGradients(dy, inputs, saved[names.length] as tf.Tensor2D | undefined, attrs as Attrs);
    },
  },
};

function linearGradients(dy: tf.Tensor2D, inputs: Record<string, tf.Tensor2D>, xa: tf.Tensor2D | undefined, attrs: Attrs): Record<string, () => tf.Tensor> {
  const { x, bias, a, b, loraInput, ...base } = inputs as Record<string, tf.Tensor2D> & { x: tf.Tensor2D };
  const gradients: Record<string, () => tf.Tensor> = {};
  if (base['w'] !== undefined) gradients['w'] = () => matmul(dy, x, 'tn');
  if (bias !== undefined) gradients['bias'] = () => tf.reshape(matmul(tf.ones([1, dy.shape[0]]), dy, 'nn'), bias.shape);
  if (a === undefined || b === undefined || xa === undefined) return { ...gradients, x: () => runOp(linearGradOp, { dy, ...base }, attrs) };
  const scale = attrs['scale'] as number;
  const dyb = shared(() => matmul(dy, b, 'nn', scale)) as () => tf.Tensor2D;
  return {
    ...gradients,
    x: () => runOp(linearGradOp, { dy, ...base, ...(loraInput === undefined ? { a, dyb: dyb() } : {}) }, attrs),
    a: () => matmul(dyb(), loraInput ?? x, 'tn'),
    b: () => matmul(dy, xa, 'tn', scale),
    ...(loraInput === undefined ? {} : { loraInput: () => matmul(dyb(), a, 'nn') }),
  };
}

/**
 * dx = dy·W + dyb·A. Inputs: dy `[tokens, out]`; the weight as LowrankLinear takes it; optionally a and dyb = scale · dy·B
 * `[tokens, r]`. Attributes as LowrankLinear's.
 */
export const linearGradOp: Op = {
  name: 'LowrankLinearGrad',
  reference: linearGradReference,
  wasm: linearGradWasm,
  webgpu: linearGradWebgpu,
  tensorflow: linearGradTensorflow,
  gradient: null,
};
