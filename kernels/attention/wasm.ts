import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Inputs } from '../runtime/op.js';
import { parallelFor } from '../runtime/threads/threads.js';
import { wasmExports, wasmOffset, wasmOutput } from '../runtime/wasm/module.js';
import type { AttentionShape } from './shape.js';
import { wasmSource } from './wasm.generated.js';

type Named<N extends string> = Record<N, TensorInfo>;

/**
 * Runs an export over the batch · numKvHeads pairs of row and key head; what `setup` sets holds for a module's instance
 * in each thread.
 */
function overHeads(
  backend: unknown,
  name: 'forward' | 'backward',
  tensors: TensorInfo[],
  inputs: Inputs,
  s: AttentionShape,
  productNs: number,
): void {
  const module = wasmExports<{ scratchBytes(keyLength: number, headDim: number): number }>(backend, wasmSource);
  const at = (t: TensorInfo): number => wasmOffset(backend, t);
  const { cos, sin, starts } = inputs as Named<'cos' | 'sin' | 'starts'>;
  const setup = [
    ...[s.batch, s.queryLength, s.keyLength, s.numHeads, s.numKvHeads, s.headDim, s.scale, s.window],
    ...[s.rotaryDim, s.maxPosition, s.hasStarts, at(cos), at(sin), at(starts)],
  ];
  parallelFor(backend, wasmSource, name, tensors.map(at), {
    count: s.batch * s.numKvHeads,
    cost: (s.numHeads / s.numKvHeads) * s.queryLength * Math.min(s.keyLength, s.window) * s.headDim * productNs,
    scratchBytes: module.scratchBytes(s.keyLength, s.headDim),
    prepare: { name: 'setup', args: setup },
  });
}

export function forwardWasm(backend: unknown, inputs: Inputs, shape: AttentionShape): TensorInfo[] {
  const { q, k, v } = inputs as Named<'q' | 'k' | 'v'>;
  const o = wasmOutput(backend, q.shape);
  const lse = wasmOutput(backend, [shape.batch * shape.numHeads * shape.queryLength]);
  overHeads(backend, 'forward', [q, k, v, o, lse], inputs, shape, 0.1);
  return [o, lse];
}

export function backwardWasm(backend: unknown, inputs: Inputs, shape: AttentionShape): TensorInfo[] {
  const { dy, q, k, v, o, lse } = inputs as Named<'dy' | 'q' | 'k' | 'v' | 'o' | 'lse'>;
  const [dq, dk, dv] = [wasmOutput(backend, q.shape), wasmOutput(backend, k.shape), wasmOutput(backend, v.shape)];
  overHeads(backend, 'backward', [dy, q, k, v, o, lse, dq, dk, dv], inputs, shape, 0.25);
  return [dq, dk, dv];
}
