import * as tf from '@tensorflow/tfjs-core';
import {
  accumulate,
  adamwUpdate,
  addRmsNorm,
  attention,
  clipScale,
  crossEntropySum,
  dequantize,
  disposeWeight,
  dropout,
  embedding,
  gelu,
  globalNorm,
  layerNorm,
  linear,
  linears,
  matmul,
  quantizedMatmul,
  rmsNorm,
  rowLogProbabilities,
  swiglu,
  tokenLosses,
  uploadQuantized,
  valueAndGradients,
  type Activation,
  type DenseWeight,
  type FloatDtype,
  type QuantizedWeight,
} from '../../kernels/index.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { Random } from '../../src/random.js';
import { normals } from './numeric.js';

/** One op, forward and backward, on float inputs of which any may hold a value that is not finite. */
export interface NonFiniteCase {
  readonly name: string;
  /** Shape of each input. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** Values that stand for a deviation: squares, as of a second moment, are never negative. */
  readonly squares?: readonly string[];
  /** Inputs of which an infinity has to show in all that depends on them, even where a limit would be finite. */
  readonly strict?: readonly string[];
  /** Outputs, by name; the inputs stay the caller's. */
  readonly run: (inputs: Readonly<Record<string, tf.Tensor>>) => Record<string, tf.Tensor>;
}

/** y and the gradients of Σ y·c with respect to the named inputs: c is the gradient that comes in. */
function differentiated(
  inputs: Readonly<Record<string, tf.Tensor>>,
  names: readonly string[],
  op: () => tf.Tensor | readonly tf.Tensor[],
): Record<string, tf.Tensor> {
  const weighted = (): tf.Scalar =>
    tf.addN([op()].flat().map((y, i) => tf.sum<tf.Scalar>(tf.mul(y, inputs[i === 0 ? 'c' : `c${i}`] as tf.Tensor))));
  const { value, gradients } = valueAndGradients(
    weighted,
    names.map((name) => inputs[name] as tf.Tensor),
  );
  value.dispose();
  const outputs = Object.fromEntries([op()].flat().map((y, i) => [`y${i}`, y]));
  return { ...outputs, ...Object.fromEntries(names.map((name, i) => [`d${name}`, gradients[i] as tf.Tensor])) };
}

const two = (t: tf.Tensor | undefined): tf.Tensor2D => t as tf.Tensor2D;
const one = (t: tf.Tensor | undefined): tf.Tensor1D => t as tf.Tensor1D;

function attentionCase(
  name: string,
  sizes: {
    batch: number;
    queryLength: number;
    keyLength: number;
    numHeads: number;
    numKvHeads: number;
    headDim: number;
    window?: number;
  },
  rotaryDim: number,
  starts?: readonly number[],
): NonFiniteCase {
  const { batch, queryLength, keyLength, numHeads, numKvHeads, headDim } = sizes;
  const q = [batch * queryLength, numHeads * headDim];
  const k = [batch * keyLength, numKvHeads * headDim];
  return {
    name: `attention, ${name}`,
    shapes: { q, k, v: k, c: q },
    strict: ['q', 'k'],
    run(inputs) {
      const half = rotaryDim / 2;
      const table = (f: (x: number) => number): tf.Tensor2D =>
        tf.tensor2d(
          Float32Array.from({ length: keyLength * half }, (_, i) =>
            f(Math.floor(i / half) / 50 ** ((i % half) / half)),
          ),
          [keyLength, half],
        );
      const options = {
        ...sizes,
        ...(rotaryDim === 0 ? {} : { rotary: { cos: table(Math.cos), sin: table(Math.sin) } }),
        ...(starts === undefined ? {} : { starts: tf.tensor1d([...starts], 'int32') }),
      };
      return differentiated(inputs, ['q', 'k', 'v'], () =>
        attention(two(inputs['q']), two(inputs['k']), two(inputs['v']), options),
      );
    },
  };
}

function quantized(dtype: FloatDtype, doubleQuant: boolean, shape: readonly [number, number]): QuantizedWeight {
  return uploadQuantized(
    quantize4bit(normals(new Random(5), shape[0] * shape[1]), shape, { quantType: 'nf4', doubleQuant, dtype }),
  );
}

function withQuantized(
  weight: QuantizedWeight,
  body: (weight: QuantizedWeight) => Record<string, tf.Tensor>,
): Record<string, tf.Tensor> {
  const outputs = body(weight);
  disposeWeight(weight);
  return outputs;
}

/** A 4-bit weight whose scales are an input. */
function scaled(dtype: FloatDtype, doubleQuant: boolean): NonFiniteCase {
  const shape = [5, 64] as const;
  return {
    name: `4-bit weight in ${dtype}${doubleQuant ? ', nested scales' : ''}`,
    shapes: { scales: [doubleQuant ? 1 : 5], x: [3, 64], c: [3, 5] },
    run: ({ scales, x, c }) =>
      withQuantized(quantized(dtype, doubleQuant, shape), (weight) => {
        const absmax: QuantizedWeight['absmax'] =
          weight.absmax.kind === 'plain'
            ? { kind: 'plain', values: one(scales) }
            : { ...weight.absmax, nestedAbsmax: one(scales) };
        const poisoned = { ...weight, absmax };
        const layer = (): tf.Tensor2D => linear(two(x), poisoned);
        return {
          w: dequantize(poisoned),
          product: quantizedMatmul(two(x), poisoned),
          ...differentiated({ x: x as tf.Tensor, c: c as tf.Tensor }, ['x'], layer),
        };
      }),
  };
}

const dense = (values: tf.Tensor | undefined): DenseWeight => ({
  kind: 'dense',
  shape: two(values).shape,
  values: two(values),
});
const ACTIVATIONS: readonly Activation[] = ['silu', 'gelu', 'gelu_tanh', 'relu'];

export const NON_FINITE_CASES: readonly NonFiniteCase[] = [
  attentionCase('a few keys', { batch: 2, queryLength: 5, keyLength: 5, numHeads: 2, numKvHeads: 1, headDim: 8 }, 8),
  attentionCase(
    'several tiles and a window',
    { batch: 1, queryLength: 11, keyLength: 70, numHeads: 1, numKvHeads: 1, headDim: 12, window: 9 },
    6,
  ),
  attentionCase(
    'segments, not rotated',
    { batch: 2, queryLength: 9, keyLength: 9, numHeads: 1, numKvHeads: 1, headDim: 7 },
    0,
    [0, 0, 0, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 8],
  ),
  attentionCase('one query', { batch: 2, queryLength: 1, keyLength: 33, numHeads: 2, numKvHeads: 1, headDim: 16 }, 16),
  {
    name: 'rms norm',
    shapes: { x: [3, 37], w: [37], c: [3, 37] },
    run: (i) => differentiated(i, ['x', 'w'], () => rmsNorm(two(i['x']), one(i['w']), 1e-5)),
  },
  {
    name: 'sum and rms norm',
    shapes: { x: [3, 37], added: [3, 37], w: [37], c: [3, 37], c1: [3, 37] },
    run: (i) =>
      differentiated(i, ['x', 'added', 'w'], () => addRmsNorm(two(i['x']), two(i['added']), one(i['w']), 1e-5)),
  },
  {
    name: 'layer norm',
    shapes: { x: [3, 37], w: [37], b: [37], c: [3, 37] },
    run: (i) => differentiated(i, ['x', 'w', 'b'], () => layerNorm(two(i['x']), one(i['w']), one(i['b']), 1e-5)),
  },
  ...ACTIVATIONS.flatMap((activation): NonFiniteCase[] => [
    {
      name: `gated ${activation}`,
      shapes: { gate: [3, 13], up: [3, 13], c: [3, 13] },
      run: (i) => differentiated(i, ['gate', 'up'], () => swiglu(two(i['gate']), two(i['up']), activation)),
    },
    {
      name: activation,
      shapes: { x: [3, 13], c: [3, 13] },
      run: (i) => differentiated(i, ['x'], () => gelu(two(i['x']), activation)),
    },
  ]),
  {
    name: 'embedding',
    shapes: { table: [6, 11], c: [4, 11] },
    run: (i) => differentiated(i, ['table'], () => embedding(two(i['table']), tf.tensor1d([5, 0, 5, 2], 'int32'))),
  },
  {
    name: 'dropout',
    shapes: { x: [5, 13], c: [5, 13] },
    run: (i) => differentiated(i, ['x'], () => dropout(i['x'] as tf.Tensor, 0.3, 7, 3)),
  },
  ...(['nt', 'nn', 'tn'] as const).flatMap((form) =>
    (
      [
        [3, 70, 9],
        [1, 9, 35],
        [23, 41, 50],
      ] as const
    ).map(([n, k, m]): NonFiniteCase => ({
      name: `product ${form}, ${n} × ${k} × ${m}`,
      shapes: { x: form === 'tn' ? [k, n] : [n, k], w: form === 'nt' ? [m, k] : [k, m], c: [n, m] },
      run: (i) => differentiated(i, ['x', 'w'], () => matmul(two(i['x']), two(i['w']), form, 0.5)),
    })),
  ),
  {
    name: 'linear layer with a low-rank update',
    shapes: { x: [11, 21], w: [18, 21], bias: [18], a: [4, 21], b: [18, 4], input: [11, 21], c: [11, 18] },
    run: (i) =>
      differentiated(i, ['x', 'w', 'bias', 'a', 'b', 'input'], () =>
        linear(two(i['x']), dense(i['w']), {
          bias: one(i['bias']),
          lora: { a: two(i['a']), b: two(i['b']), scale: 2 },
          loraInput: two(i['input']),
        }),
      ),
  },
  {
    name: 'two linear layers, one in 4 bits',
    shapes: { x: [11, 64], w: [7, 64], a: [4, 64], b: [7, 4], c: [11, 7], c1: [11, 5] },
    run: (i) =>
      withQuantized(quantized('F16', true, [5, 64]), (weight) =>
        differentiated(i, ['x', 'a', 'b'], () =>
          linears(two(i['x']), [
            { weight: dense(i['w']), lora: { a: two(i['a']), b: two(i['b']), scale: 2 } },
            { weight },
          ]),
        ),
      ),
  },
  ...(['F32', 'F16', 'BF16'] as const).flatMap((dtype) => [scaled(dtype, false), scaled(dtype, true)]),
  {
    name: 'cross-entropy',
    shapes: { hidden: [4, 9], w: [35, 9], bias: [35] },
    run(i) {
      const targets = { rows: Int32Array.of(0, 2, 3), labels: Int32Array.of(34, 5, 0) };
      const options = { bias: one(i['bias']), weightGradient: true };
      const { value, gradients } = valueAndGradients(
        () => crossEntropySum(two(i['hidden']), dense(i['w']), targets, options),
        [i['hidden'] as tf.Tensor, i['w'] as tf.Tensor, i['bias'] as tf.Tensor],
      );
      const [dhidden, dw, dbias] = gradients as [tf.Tensor, tf.Tensor, tf.Tensor];
      return {
        value,
        losses: tokenLosses(two(i['hidden']), dense(i['w']), targets, { bias: one(i['bias']) }),
        dhidden,
        dw,
        dbias,
      };
    },
  },
  {
    name: 'row log-probabilities',
    shapes: { hidden: [6, 9], w: [35, 9], bias: [35], c: [2] },
    run: (i) =>
      differentiated(i, ['hidden', 'w', 'bias'], () => {
        const targets = { rows: Int32Array.of(0, 2, 3, 5), labels: Int32Array.of(34, 5, 0, 11) };
        const options = { bias: one(i['bias']), weightGradient: true };
        const { sums, counts } = rowLogProbabilities(two(i['hidden']), dense(i['w']), targets, 2, options);
        counts.dispose();
        return sums;
      }),
  },
  {
    name: 'AdamW',
    shapes: { p: [3, 13], g: [3, 13], m: [3, 13], v: [3, 13], scale: [] },
    squares: ['v'],
    run(i) {
      const [p, m, v] = (['p', 'm', 'v'] as const).map((name) => tf.variable(tf.mul(i[name] as tf.Tensor, 1))) as [
        tf.Variable,
        tf.Variable,
        tf.Variable,
      ];
      adamwUpdate(
        [{ parameter: p, gradient: i['g'] as tf.Tensor, m, v }],
        { learningRate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, step: 3 },
        i['scale'] as tf.Scalar,
      );
      // Copies: a tidy does not release variables.
      const copies = { p: tf.add(p, 0), m: tf.add(m, 0), v: tf.add(v, 0) };
      tf.dispose([p, m, v]);
      return copies;
    },
  },
  {
    name: 'sums of gradients',
    shapes: { s: [3, 13], t: [3, 13] },
    run: ({ s, t }) => ({ sum: accumulate([tf.mul(s as tf.Tensor, 1)], [tf.mul(t as tf.Tensor, 1)])[0] as tf.Tensor }),
  },
  {
    name: 'norm of gradients, and what clips by it',
    shapes: { s: [3, 13], t: [5] },
    run({ s, t }) {
      const norm = globalNorm([s as tf.Tensor, t as tf.Tensor]);
      // As a step has it: the gradient times the factor.
      return { norm, clipped: tf.mul(s as tf.Tensor, clipScale(norm, 1)) };
    },
  },
];
