import * as tf from '@tensorflow/tfjs-core';
import { runOpMulti, sharedMany, type Attrs, type Op } from '../runtime/op.js';
import { attentionGradReference, attentionReference, type AttentionTables } from './reference.js';
import { backwardWasm, forwardWasm } from './wasm.js';
import { backwardWebGpu, forwardWebGpu } from './webgpu.js';
import { shapeFromAttrs, shapeToAttrs, type AttentionShape } from './shape.js';

export interface AttentionOptions {
  readonly batch: number;
  readonly queryLength: number;
  readonly keyLength: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** Factor on q·k; 1/√headDim unless given. */
  readonly scale?: number;
  /** A query sees this many keys, itself included; no bound unless given. */
  readonly window?: number;
  /** Tables of the rotation angles, each `[maxPosition, rotaryDim / 2]` float32. Frozen: no gradient reaches them. */
  readonly rotary?: { readonly cos: tf.Tensor2D; readonly sin: tf.Tensor2D };
  /** `[batch·keyLength]` int32: the index in its row where the segment of each token begins; 0 unless given. */
  readonly starts?: tf.Tensor1D;
}

/**
 * Causal grouped-query attention with rotary positions: o = softmax(scale · R(q) · R(k)ᵀ) · v over the visible keys.
 *
 * Query i of a row stands at index p = keyLength − queryLength + i; key j is visible when starts[p] ≤ j ≤ p and p − j <
 * window. R turns the halves of the first rotaryDim dimensions of token j by the angle of position j − starts[j]. q and
 * k come, and cached keys stay, unrotated. A query that sees no key yields 0.
 *
 * @param q `[batch·queryLength, numHeads·headDim]` float32
 * @param k `[batch·keyLength, numKvHeads·headDim]` float32
 * @param v like k
 * @returns `[batch·queryLength, numHeads·headDim]`
 * @throws Error when shapes and options disagree.
 * Sources: Dao 2023, arXiv:2307.08691 (tiling, log-sum-exp); Su et al. 2021, arXiv:2104.09864 (rotary positions).
 */
export function attention(q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D, options: AttentionOptions): tf.Tensor2D {
  const shape = checkedShape(q, k, v, options);
  // Kernels bind every input: a single zero stands in for what is absent.
  const none = options.rotary === undefined || options.starts === undefined ? tf.zeros([1]) : undefined;
  const inputs = {
    q,
    k,
    v,
    cos: options.rotary?.cos ?? none,
    sin: options.rotary?.sin ?? none,
    starts: options.starts ?? none,
  };
  const [o, lse] = runOpMulti(attentionOp, inputs, shapeToAttrs(shape)) as [tf.Tensor2D, tf.Tensor1D];
  lse.dispose();
  none?.dispose();
  return o;
}

function checkedShape(q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D, options: AttentionOptions): AttentionShape {
  const { batch, queryLength, keyLength, numHeads, numKvHeads, headDim, rotary, starts } = options;
  const check = (holds: boolean, message: () => string): void => tf.util.assert(holds, () => `attention: ${message()}`);
  const expect = (tensor: tf.Tensor, shape: number[], name: string): void =>
    check(
      tf.util.arraysEqual(tensor.shape, shape),
      () => `${name} is [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]`,
    );
  check(numHeads % numKvHeads === 0, () => `${numHeads} heads cannot share ${numKvHeads} key heads`);
  check(queryLength <= keyLength, () => `${queryLength} queries for ${keyLength} keys`);
  expect(q, [batch * queryLength, numHeads * headDim], 'q');
  expect(k, [batch * keyLength, numKvHeads * headDim], 'k');
  expect(v, [batch * keyLength, numKvHeads * headDim], 'v');
  const window = options.window ?? keyLength;
  check(window >= 1, () => `a window of ${window}`);
  let [maxPosition, rotaryDim] = [1, 0];
  if (rotary !== undefined) {
    [maxPosition, rotaryDim] = [rotary.cos.shape[0], 2 * rotary.cos.shape[1]];
    expect(rotary.sin, rotary.cos.shape, 'the table of sines');
    check(rotaryDim <= headDim, () => `${rotaryDim} rotated dimensions in a head of ${headDim}`);
    check(
      starts !== undefined || keyLength <= maxPosition,
      () => `${keyLength} positions, but the rotary tables end at ${maxPosition}`,
    );
  }
  if (starts !== undefined) {
    expect(starts, [batch * keyLength], 'starts');
    check(starts.dtype === 'int32', () => `starts is ${starts.dtype}, expected int32`);
  }
  return {
    ...{ batch, queryLength, keyLength, numHeads, numKvHeads, headDim, rotaryDim, maxPosition },
    scale: options.scale ?? 1 / Math.sqrt(headDim),
    window: Math.min(window, keyLength),
    hasStarts: starts === undefined ? 0 : 1,
  };
}

function tablesOf(inputs: Record<string, tf.Tensor>, shape: AttentionShape): AttentionTables {
  const rotates = shape.rotaryDim > 0;
  return {
    cos: rotates ? (inputs['cos'] as tf.Tensor2D) : undefined,
    sin: rotates ? (inputs['sin'] as tf.Tensor2D) : undefined,
    starts: shape.hasStarts === 1 ? (inputs['starts'] as tf.Tensor1D) : undefined,
  };
}

export const attentionOp: Op = {
  name: 'LowrankAttention',
  reference: (inputs, attrs) => {
    const shape = shapeFromAttrs(attrs);
    const { q, k, v } = inputs as Record<'q' | 'k' | 'v', tf.Tensor2D>;
    return attentionReference(q, k, v, tablesOf(inputs, shape), shape);
  },
  wasm: ({ inputs, attrs, backend }) => forwardWasm(backend, inputs, shapeFromAttrs(attrs)),
  webgpu: ({ inputs, attrs, backend }) => forwardWebGpu(backend, inputs, shapeFromAttrs(attrs)),
  gradient: {
    inputsToSave: ['q', 'k', 'v', 'cos', 'sin', 'starts'],
    outputsToSave: [true, true],
    gradFunc: (dys, saved, attrs) => {
      const dy = (dys as tf.Tensor[])[0] as tf.Tensor2D;
      const [q, k, v, cos, sin, starts, o, lse] = saved as [
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
      ];
      const take = sharedMany(() =>
        runOpMulti(attentionGradOp, { dy, q, k, v, cos, sin, starts, o, lse }, attrs as Attrs),
      );
      return { q: () => take(0), k: () => take(1), v: () => take(2) };
    },
  },
};

export const attentionGradOp: Op = {
  name: 'LowrankAttentionGrad',
  reference: (inputs, attrs) => {
    const shape = shapeFromAttrs(attrs);
    const { dy, q, k, v, o } = inputs as Record<'dy' | 'q' | 'k' | 'v' | 'o', tf.Tensor2D>;
    return attentionGradReference(dy, q, k, v, o, inputs['lse'] as tf.Tensor1D, tablesOf(inputs, shape), shape);
  },
  wasm: ({ inputs, attrs, backend }) => backwardWasm(backend, inputs, shapeFromAttrs(attrs)),
  webgpu: ({ inputs, attrs, backend }) => backwardWebGpu(backend, inputs, shapeFromAttrs(attrs)),
  gradient: null,
};
