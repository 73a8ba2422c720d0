import * as tf from '@tensorflow/tfjs-core';
import { runOp, type Attrs, type Op } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmOffset, wasmOutput } from '../runtime/wasm/module.js';
import { gpuDispatch, gpuOutput, gpuWorkgroups, type GpuParams } from '../runtime/webgpu/dispatch.js';
import { dropoutKey, dropoutThreshold, type DropoutKey } from './hash.js';
import { dropoutReference } from './reference.js';
import { wasmSource } from './wasm.generated.js';
import * as wgsl from './wgsl.generated.js';

/**
 * Inverted dropout: each element becomes 0 with probability `rate` and x / (1 − rate) otherwise. The mask is a function
 * of (seed, offset + position) alone, equal on every backend.
 *
 * @param x any shape, float32
 * @param rate in [0, 1)
 * @param seed uint32
 * @param offset position of the first element in the seed's stream, a non-negative integer
 * @throws Error when rate, seed or offset is out of range
 * Source: Srivastava et al. 2014, JMLR 15.
 */
export function dropout<T extends tf.Tensor>(x: T, rate: number, seed: number, offset = 0): T {
  tf.util.assert(rate >= 0 && rate < 1, () => `dropout: rate ${rate} is not in [0, 1)`);
  tf.util.assert(seed >>> 0 === seed, () => `dropout: seed ${seed} is no uint32`);
  tf.util.assert(
    Number.isSafeInteger(offset) && offset >= 0,
    () => `dropout: offset ${offset} is no non-negative integer`,
  );
  if (rate === 0) return tf.clone(x);
  return runOp(dropoutOp, { x }, { rate, seed, offset }) as T;
}

export const dropoutOp: Op = {
  name: 'LowrankDropout',
  reference: (inputs, attrs) =>
    dropoutReference(
      inputs['x'] as tf.Tensor,
      attrs['rate'] as number,
      attrs['seed'] as number,
      attrs['offset'] as number,
    ),
  wasm: ({ inputs, attrs, backend }) => {
    const { x } = inputs as { x: tf.TensorInfo };
    const { first, second, start, threshold, kept } = constants(attrs);
    const y = wasmOutput(backend, x.shape);
    const args = [wasmOffset(backend, x), wasmOffset(backend, y), first, second, start, threshold, kept];
    parallelFor(backend, wasmSource, 'dropout', args, { count: tf.util.sizeFromShape(x.shape), cost: 1.5, align: 64 });
    return y;
  },
  webgpu: ({ inputs, attrs, backend }) => {
    const { x } = inputs as { x: tf.TensorInfo };
    const count = tf.util.sizeFromShape(x.shape);
    const y = gpuOutput(backend, x.shape);
    const params = (seed: number): GpuParams => {
      const { first, second, start, threshold, kept } = constants({ ...attrs, seed });
      return [
        ['u', count],
        ['u', first],
        ['u', second],
        ['u', start],
        ['u', threshold],
        ['f', kept],
      ];
    };
    gpuDispatch(
      backend,
      { name: 'dropout/dropout', code: wgsl.dropout },
      [x, y],
      { seed: attrs['seed'] as number, of: params },
      gpuWorkgroups(count, 256),
    );
    return y;
  },
  gradient: {
    gradFunc: (dys, _saved, attrs) => ({ x: () => runOp(dropoutOp, { x: dys as tf.Tensor }, attrs) }),
  },
};

function constants(attrs: Attrs): DropoutKey & { readonly threshold: number; readonly kept: number } {
  const { rate, seed, offset } = attrs as { rate: number; seed: number; offset: number };
  return { ...dropoutKey(seed, offset), threshold: dropoutThreshold(rate), kept: 1 / (1 - rate) };
}
