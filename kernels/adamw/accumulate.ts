import * as tf from '@tensorflow/tfjs-core';
import { chunks, forEach, itemsPerDispatch } from '../runtime/webgpu/repeat-lines.js';
import type { FlatTensors } from '../runtime/webgpu/flat.js';
import { runOpMulti, writesInPlace, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuInPlace, gpuWorkgroups } from '../runtime/webgpu/dispatch.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/**
 * sums[i] + addends[i], of equal shapes, float32: in place of the sums where the backend has a kernel. Takes all of
 * them over: the tensors that it returns are what is left.
 *
 * @throws Error when shapes differ
 */
export function accumulate(sums: readonly tf.Tensor[], addends: readonly tf.Tensor[]): tf.Tensor[] {
  const fits =
    sums.length === addends.length && sums.every((sum, i) => tf.util.arraysEqual(sum.shape, addends[i]?.shape ?? []));
  tf.util.assert(
    fits,
    () =>
      `accumulate: ${JSON.stringify(sums.map((t) => t.shape))} and ${JSON.stringify(addends.map((t) => t.shape))} differ`,
  );
  // Memory that a sum shares with another tensor is not to be written to.
  const alone = writesInPlace(accumulateOp) ? sums.filter((sum) => tf.backend().refCount(sum.dataId) === 1) : [];
  if (alone.length > 0) {
    const pairs = alone.map(
      (sum, i) =>
        [
          [`s${i}`, sum],
          [`t${i}`, addends[sums.indexOf(sum)] as tf.Tensor],
        ] as const,
    );
    runOpMulti(accumulateOp, Object.fromEntries(pairs.flat()));
  }
  const written = new Set(alone);
  return sums.map((sum, i) => {
    const addend = addends[i] as tf.Tensor;
    const total = written.has(sum) ? sum : tf.add(sum, addend);
    tf.dispose(total === sum ? addend : [sum, addend]);
    return total;
  });
}

/** sums + addend for tensors that lie in one each, in place; the addend stays. */
export function accumulateFlat(sums: FlatTensors, addend: FlatTensors): void {
  runOpMulti(accumulateOp, { s0: sums.flat, t0: addend.flat });
}

/** Inputs s0, t0, s1, t1, …: each s becomes s + t. */
export const accumulateOp: Op = {
  name: 'LowrankAccumulate',
  reference: (inputs) => pairsOf(inputs).map(([s, t]) => tf.add(s, t)),
  wasm: ({ inputs, backend }) => {
    for (const [s, t] of pairsOf(inputs as Record<string, tf.TensorInfo>)) {
      parallelFor(backend, wasmSource, 'accumulate', [wasmOffset(backend, s), wasmOffset(backend, t)], {
        count: tf.util.sizeFromShape(s.shape),
        cost: 0.5,
        align: 64,
      });
    }
    return [];
  },
  webgpu: ({ inputs, backend }) => {
    const sized = pairsOf(inputs as Record<string, tf.TensorInfo>).map((pair) => ({
      pair,
      count: tf.util.sizeFromShape(pair[0].shape),
    }));
    // The longest tensor of a dispatch sets its size: those of a kind go together.
    sized.sort((a, b) => b.count - a.count);
    for (const group of chunks(sized, itemsPerDispatch(backend, 2, 0))) {
      for (const { pair } of group) gpuInPlace(backend, pair[0]);
      const program = {
        name: `adamw/accumulate ${group.length}`,
        code: () => forEach(wgsl.accumulate, { n: group.length }),
      };
      const [x, y] = gpuWorkgroups(Math.max(...group.map(({ count }) => count)), 256);
      gpuDispatch(
        backend,
        program,
        group.flatMap(({ pair }) => pair),
        group.map(({ count }) => ['u', count] as const),
        [x, y, group.length],
      );
    }
    return [];
  },
  gradient: null,
};

function pairsOf<T>(inputs: Record<string, T>): [T, T][] {
  return Array.from({ length: Object.keys(inputs).length / 2 }, (_, i) => [inputs[`s${i}`] as T, inputs[`t${i}`] as T]);
}
