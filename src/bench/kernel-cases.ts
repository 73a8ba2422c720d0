import * as tf from '@tensorflow/tfjs-core';
import {
  adamwUpdate,
  attention,
  crossEntropySum,
  dequantize,
  disposeWeight,
  dropout,
  embedding,
  gelu,
  globalNorm,
  layerNorm,
  linear,
  matmul,
  pullback,
  quantizedMatmul,
  rmsNorm,
  rowLogProbabilities,
  swiglu,
  valueAndGradients,
  type MatmulForm,
  type QuantizedWeight,
} from '../../kernels/index.js';
import type { RopeConfig } from '../model/config.js';
import { RopeTables } from '../model/rope.js';
import { linearLayers, linearShapes } from '../model/tensors.js';
import { randomWeight, type Quantize } from './decoder.js';
import { tokenValues, weightValues } from './random.js';
import { modelConfigOf, type Dims } from './shapes.js';

/** An op with its inputs on the device. */
export interface PreparedKernel {
  /** Dispatches it once; the outputs are the caller's to dispose. */
  run(): tf.Tensor[];
  /** What `run` wrote in place. */
  readonly state?: readonly tf.Tensor[];
  dispose(): void;
}

/** One op in one direction at one size. */
export interface KernelCase {
  readonly op: string;
  readonly pass: 'forward' | 'backward' | 'both' | 'update';
  readonly weight: Quantize | '';
  readonly size: string;
  /** Floating-point operations, where products dominate. */
  readonly flop?: number;
  /** Bytes that must at least be read and written, where they dominate. */
  readonly bytes?: number;
  prepare(): PreparedKernel;
}

const VARIANTS = ['none', 'nf4', 'fp4'] as const;

/** Every op as a step at these sizes runs it, in a fixed order that does not depend on the sizes. */
export function kernelCases(dims: Dims, rank: number): KernelCase[] {
  return [
    ...linearCases(dims, rank),
    ...productCases(dims, rank),
    ...attentionCases(dims),
    ...elementCases(dims),
    ...lossCases(dims),
    ...updateCases(dims, rank),
  ];
}

function linearCases(dims: Dims, rank: number): KernelCase[] {
  const tokens = dims.batch * dims.seq;
  const { k, q, gate, down } = linearShapes(modelConfigOf(dims));
  const named = { q, k, gate, down };
  return Object.entries(named).flatMap(([role, [out, inner]]) =>
    VARIANTS.flatMap((weight) =>
      (['forward', 'backward'] as const).map((pass): KernelCase => {
        const low = rank * (inner + out);
        return {
          op: `linear ${role}`,
          pass,
          weight,
          size: `${tokens}×${inner}→${out}, r ${rank}`,
          flop: 2 * tokens * (inner * out + (pass === 'forward' ? low : 2 * low)),
          prepare() {
            const w = randomWeight([out, inner], weight, 1);
            const [x, a, b] = [matrix(tokens, inner, 2), matrix(rank, inner, 3), matrix(out, rank, 4)] as const;
            const forward = (): tf.Tensor => linear(x, w, { lora: { a, b, scale: 2 } });
            const release = (): void => {
              disposeWeight(w);
              tf.dispose([x, a, b]);
            };
            return pass === 'forward' ? plain(() => [forward()], release) : differentiated(forward, [x, a, b], release);
          },
        };
      }),
    ),
  );
}

function productCases(dims: Dims, rank: number): KernelCase[] {
  const tokens = dims.batch * dims.seq;
  const { hidden, ffn } = dims;
  const product = (
    op: string,
    form: MatmulForm,
    x: readonly [number, number],
    w: readonly [number, number],
    flop: number,
  ): KernelCase => ({
    op,
    pass: 'forward',
    weight: '',
    size: `${form} ${x.join('×')} · ${w.join('×')}`,
    flop,
    prepare() {
      const [left, right] = [matrix(...x, 1), matrix(...w, 2)];
      return plain(
        () => [matmul(left, right, form)],
        () => {
          tf.dispose([left, right]);
        },
      );
    },
  });
  const wide = 2 * tokens * hidden * ffn;
  const thin = 2 * tokens * hidden * rank;
  return [
    product('matmul', 'nn', [tokens, hidden], [hidden, ffn], wide),
    product('matmul', 'nt', [tokens, hidden], [ffn, hidden], wide),
    product('matmul', 'tn', [tokens, hidden], [tokens, ffn], wide),
    product('matmul thin', 'nn', [tokens, hidden], [hidden, rank], thin),
    product('matmul thin', 'nt', [tokens, hidden], [rank, hidden], thin),
    product('matmul thin', 'tn', [tokens, rank], [tokens, hidden], thin),
    ...(['nf4', 'fp4'] as const).flatMap((weight): KernelCase[] => {
      const w = (): QuantizedWeight => randomWeight([ffn, hidden], weight, 1) as QuantizedWeight;
      return [
        {
          ...{ op: 'quantizedMatmul', pass: 'forward', weight, size: `${tokens}×${hidden}→${ffn}`, flop: wide },
          prepare() {
            const [packed, x] = [w(), matrix(tokens, hidden, 2)] as const;
            return plain(
              () => [quantizedMatmul(x, packed)],
              () => {
                disposeWeight(packed);
                x.dispose();
              },
            );
          },
        },
        {
          ...{ op: 'dequantize', pass: 'forward', weight, size: `${ffn}×${hidden}`, bytes: 4.5 * ffn * hidden },
          prepare() {
            const packed = w();
            return plain(
              () => [dequantize(packed)],
              () => {
                disposeWeight(packed);
              },
            );
          },
        },
      ];
    }),
  ];
}

function attentionCases(dims: Dims): KernelCase[] {
  const { batch, seq, heads: numHeads, kvHeads: numKvHeads, hidden } = dims;
  const headDim = hidden / numHeads;
  return (['forward', 'backward'] as const).map((pass) => ({
    op: 'attention',
    pass,
    weight: '',
    size: `${batch}×${seq}, ${numHeads}/${numKvHeads} heads of ${headDim}`,
    // Two products forward, four backward, over the visible half of the scores.
    flop: (pass === 'forward' ? 2 : 4) * batch * numHeads * seq * seq * headDim,
    prepare() {
      const rope = new RopeTables(modelConfigOf(dims).rope as RopeConfig);
      const rotary = rope.upTo(seq);
      // Larger than weights: scores that differ.
      const [q, k, v] = ([numHeads, numKvHeads, numKvHeads] as const).map((n, i) =>
        matrix(batch * seq, n * headDim, i, 50),
      ) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
      const forward = (): tf.Tensor =>
        attention(q, k, v, { batch, queryLength: seq, keyLength: seq, numHeads, numKvHeads, headDim, rotary });
      const release = (): void => {
        tf.dispose([q, k, v]);
        rope.dispose();
      };
      return pass === 'forward' ? plain(() => [forward()], release) : differentiated(forward, [q, k, v], release);
    },
  }));
}

function elementCases(dims: Dims): KernelCase[] {
  const tokens = dims.batch * dims.seq;
  const { hidden, ffn, vocab } = dims;
  const element = (
    op: string,
    pass: 'forward' | 'backward',
    columns: number,
    arrays: number,
    make: () => { forward: () => tf.Tensor; wanted: tf.Tensor[]; frozen?: tf.Tensor[] },
  ): KernelCase => ({
    op,
    pass,
    weight: '',
    size: `${tokens}×${columns}`,
    bytes: 4 * arrays * tokens * columns,
    prepare() {
      const { forward, wanted, frozen = [] } = make();
      const release = (): void => tf.dispose([...wanted, ...frozen]);
      return pass === 'forward' ? plain(() => [forward()], release) : differentiated(forward, wanted, release);
    },
  });
  const norm = (): { forward: () => tf.Tensor; wanted: tf.Tensor[]; frozen: tf.Tensor[] } => {
    const [x, w] = [matrix(tokens, hidden, 1, 50), tf.keep(tf.ones([hidden])) as tf.Tensor1D];
    return { forward: () => rmsNorm(x, w, 1e-5), wanted: [x], frozen: [w] };
  };
  const centred = (): { forward: () => tf.Tensor; wanted: tf.Tensor[]; frozen: tf.Tensor[] } => {
    const [x, w, b] = [
      matrix(tokens, hidden, 1, 50),
      tf.keep(tf.ones([hidden])) as tf.Tensor1D,
      tf.keep(tf.zeros([hidden])) as tf.Tensor1D,
    ];
    return { forward: () => layerNorm(x, w, b, 1e-5), wanted: [x], frozen: [w, b] };
  };
  const ungated = (): { forward: () => tf.Tensor; wanted: tf.Tensor[] } => {
    const x = matrix(tokens, ffn, 1, 50);
    return { forward: () => gelu(x), wanted: [x] };
  };
  const gated = (): { forward: () => tf.Tensor; wanted: tf.Tensor[] } => {
    const [gate, up] = [matrix(tokens, ffn, 1, 50), matrix(tokens, ffn, 2, 50)];
    return { forward: () => swiglu(gate, up), wanted: [gate, up] };
  };
  const dropped = (): { forward: () => tf.Tensor; wanted: tf.Tensor[] } => {
    const x = matrix(tokens, hidden, 1);
    return { forward: () => dropout(x, 0.1, 7), wanted: [x] };
  };
  return [
    element('rmsNorm', 'forward', hidden, 2, norm),
    element('rmsNorm', 'backward', hidden, 3, norm),
    element('layerNorm', 'forward', hidden, 2, centred),
    element('layerNorm', 'backward', hidden, 3, centred),
    element('gelu', 'forward', ffn, 2, ungated),
    element('gelu', 'backward', ffn, 3, ungated),
    element('swiglu', 'forward', ffn, 3, gated),
    element('swiglu', 'backward', ffn, 5, gated),
    element('dropout', 'forward', hidden, 2, dropped),
    element('dropout', 'backward', hidden, 2, dropped),
    element('embedding', 'forward', hidden, 2, () => {
      const table = matrix(vocab, hidden, 1);
      const ids = tf.keep(tf.tensor1d(tokenValues(tokens, vocab, 1), 'int32'));
      return { forward: () => embedding(table, ids), wanted: [table, ids] };
    }),
  ];
}

function lossCases({ batch, seq, hidden, vocab }: Dims): KernelCase[] {
  const tokens = batch * seq;
  type Weight = Parameters<typeof crossEntropySum>[1];
  type Targets = Parameters<typeof crossEntropySum>[2];
  const loss = (op: string, run: (x: tf.Tensor2D, weight: Weight, targets: Targets) => tf.Scalar): KernelCase => ({
    op,
    pass: 'both',
    weight: '',
    size: `${tokens}×${hidden}→${vocab}`,
    flop: 4 * tokens * hidden * vocab,
    prepare() {
      const table = matrix(vocab, hidden, 1);
      const x = matrix(tokens, hidden, 2, 50);
      const targets = {
        rows: Int32Array.from({ length: tokens }, (_, i) => i),
        labels: tokenValues(tokens, vocab, 2),
      };
      const both = (): tf.Tensor[] => {
        const { value, gradients } = valueAndGradients(
          () => run(x, { kind: 'dense', shape: [vocab, hidden], values: table }, targets),
          [x],
        );
        return [value, ...gradients];
      };
      return plain(both, () => {
        tf.dispose([table, x]);
      });
    },
  });
  return [
    loss('crossEntropy', crossEntropySum),
    loss('rowLogProbabilities', (x, weight, targets) =>
      tf.tidy(() => tf.sum(rowLogProbabilities(x, weight, targets, batch).sums)),
    ),
  ];
}

function updateCases(dims: Dims, rank: number): KernelCase[] {
  const layers = linearLayers(modelConfigOf(dims)).filter(({ layer }) => layer === 0);
  const shapes = layers.flatMap(
    ({ shape: [out, inner] }) =>
      [
        [rank, inner],
        [out, rank],
      ] as const,
  );
  const count = shapes.reduce((sum, [rows, columns]) => sum + rows * columns, 0);
  const size = `${shapes.length} factors of a layer, ${count} values`;
  const tensors = (seed: number): tf.Tensor2D[] => shapes.map(([rows, columns], i) => matrix(rows, columns, seed + i));
  return [
    {
      ...{ op: 'globalNorm', pass: 'forward', weight: '', size, bytes: 4 * count },
      prepare() {
        const gradients = tensors(1);
        return plain(
          () => [globalNorm(gradients)],
          () => {
            tf.dispose(gradients);
          },
        );
      },
    },
    {
      // Reads p, g, m, v and writes p, m, v.
      ...{ op: 'adamw', pass: 'update', weight: '', size, bytes: 7 * 4 * count },
      prepare() {
        const gradients = tensors(1);
        const variables = (seed: number): tf.Variable[] => tensors(seed).map((t) => variableOf(t));
        const zeros = (): tf.Variable[] => shapes.map(([rows, columns]) => variableOf(tf.zeros([rows, columns])));
        const [parameters, m, v] = [variables(50), zeros(), zeros()];
        const items = parameters.map((parameter, i) => ({
          parameter,
          gradient: gradients[i] as tf.Tensor,
          m: m[i] as tf.Variable,
          v: v[i] as tf.Variable,
        }));
        let step = 0;
        const run = (): tf.Tensor[] => {
          adamwUpdate(items, {
            learningRate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weightDecay: 0.01,
            step: ++step,
          });
          return [];
        };
        return {
          run,
          state: [...parameters, ...m, ...v],
          dispose() {
            tf.dispose([gradients, parameters, m, v]);
          },
        };
      },
    },
  ];
}

/** `scale` times values of deviation 0.02. */
function matrix(rows: number, columns: number, seed: number, scale = 1): tf.Tensor2D {
  const values = weightValues(rows * columns, seed);
  return tf.keep(tf.tensor2d(scale === 1 ? values : values.map((value) => scale * value), [rows, columns]));
}

function variableOf(tensor: tf.Tensor): tf.Variable {
  const variable = tf.variable(tensor);
  tensor.dispose();
  return variable;
}

function plain(run: () => tf.Tensor[], dispose: () => void): PreparedKernel {
  return { run: () => tf.tidy(run), dispose };
}

/** The backward pass alone, from a gradient of random values. */
function differentiated(forward: () => tf.Tensor, wanted: readonly tf.Tensor[], release: () => void): PreparedKernel {
  const recorded = pullback(forward, wanted);
  const [rows, columns] = recorded.value.shape as [number, number];
  const dy = matrix(rows, columns, 9);
  return {
    run: () => recorded.pull(dy),
    dispose() {
      recorded.dispose();
      dy.dispose();
      release();
    },
  };
}
