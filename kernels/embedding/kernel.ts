import * as tf from '@tensorflow/tfjs-core';
import { runOp, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm/module.js';
import { rowStretches, splitTensor } from '../runtime/webgpu/row-blocks.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups } from '../runtime/webgpu/dispatch.js';
import { embeddingGradReference, embeddingReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/**
 * Looks rows up: y[i] = table[ids[i]]. An id outside the table gives a row of zeros and no gradient; whether ids are
 * valid tokens is the caller's to check.
 *
 * @param table `[vocab, dim]` float32
 * @param ids `[n]` int32
 * @returns `[n, dim]`
 */
export function embedding(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D {
  tf.util.assert(
    table.rank === 2 && ids.rank === 1 && ids.dtype === 'int32',
    () => `embedding: table is [${table.shape.join(', ')}], ids is ${ids.dtype} [${ids.shape.join(', ')}]`,
  );
  return runOp(embeddingOp, { table, ids }, { vocab: table.shape[0] }) as tf.Tensor2D;
}

export const embeddingOp: Op = {
  name: 'LowrankEmbedding',
  reference: (inputs) => embeddingReference(inputs['table'] as tf.Tensor2D, inputs['ids'] as tf.Tensor1D),
  wasm: ({ inputs, backend }) => {
    const { table, ids } = inputs as Record<'table' | 'ids', tf.TensorInfo>;
    const [vocab, dim] = table.shape as [number, number];
    const count = ids.shape[0] as number;
    const y = wasmOutput(backend, [count, dim]);
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    parallelFor(backend, wasmSource, 'forward', [at(table), at(ids), at(y), vocab, dim], { count, cost: 0.3 * dim });
    return y;
  },
  webgpu: ({ inputs, backend }) => {
    const { table, ids } = inputs as Record<'table' | 'ids', tf.TensorInfo>;
    const [vocab, dim] = table.shape as [number, number];
    const count = ids.shape[0] as number;
    const y = gpuOutput(backend, [count, dim]);
    const program = { name: 'embedding/forward', code: wgsl.forward };
    const groups = gpuWorkgroups(count * dim, 256);
    const stretches = rowStretches(backend, vocab, 4 * dim) ?? [{ first: 0, rows: vocab }];
    const parts =
      stretches.length === 1
        ? [table]
        : splitTensor(
            backend,
            table,
            stretches.map(({ first }) => first * dim),
          );
    stretches.forEach(({ first, rows }, i) => {
      gpuDispatch(
        backend,
        program,
        [parts[i] as tf.TensorInfo, ids, y],
        [
          ['u', count],
          ['u', dim],
          ['u', rows],
          ['u', first],
        ],
        groups,
      );
    });
    return y;
  },
  gradient: {
    inputsToSave: ['ids'],
    gradFunc: (dys, saved, attrs) => {
      const dy = dys as tf.Tensor2D;
      const ids = saved[0] as tf.Tensor1D;
      return { table: () => runOp(embeddingGradOp, { dy, ids }, attrs) };
    },
  },
};

/** Scatter-add: dtable[v] = Σ over i with ids[i] = v of dy[i], summed in the order of i. */
export const embeddingGradOp: Op = {
  name: 'LowrankEmbeddingGrad',
  reference: (inputs, attrs) =>
    embeddingGradReference(inputs['dy'] as tf.Tensor2D, inputs['ids'] as tf.Tensor1D, attrs['vocab'] as number),
  wasm: ({ inputs, attrs, backend }) => {
    const { dy, ids } = inputs as Record<'dy' | 'ids', tf.TensorInfo>;
    const [count, dim] = dy.shape as [number, number];
    const vocab = attrs['vocab'] as number;
    const dtable = wasmOutput(backend, [vocab, dim]);
    const at = (t: tf.TensorInfo): number => wasmOffset(backend, t);
    // Every part reads all ids, and adds up the rows of its own tokens.
    const cost = (0.3 * dim * (vocab + 2 * count)) / vocab;
    parallelFor(backend, wasmSource, 'backward', [at(dy), at(ids), at(dtable), count, dim], { count: vocab, cost });
    return dtable;
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { dy, ids } = inputs as Record<'dy' | 'ids', tf.TensorInfo>;
    const [count, dim] = dy.shape as [number, number];
    const vocab = attrs['vocab'] as number;
    const dtable = gpuOutput(backend, [vocab, dim]);
    gpuDispatch(
      backend,
      { name: 'embedding/zero', code: wgsl.zero },
      [dtable],
      [['u', vocab * dim]],
      gpuWorkgroups(vocab * dim, 256),
    );
    const program = { name: 'embedding/backward', code: wgsl.backward };
    gpuDispatch(
      backend,
      program,
      [dy, ids, dtable],
      [
        ['u', count],
        ['u', dim],
        ['u', vocab],
      ],
      gpuWorkgroups(count, 1),
    );
    return dtable;
  },
  gradient: null,
};
