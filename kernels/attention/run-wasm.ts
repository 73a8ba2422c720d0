import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Inputs } from '../runtime/op.js';
import { wasmExports, wasmOffset, wasmOutput, withWasmScratch } from '../runtime/wasm.js';
import type { AttentionShape } from './shape.js';
import { wasmSource } from './wasm.generated.js';

type Numbers<N extends string> = (...args: { [K in N]: number }[N][]) => void;

interface AttentionWasm {
  scratchBytes(keyLength: number, headDim: number): number;
  setup: Numbers<'sizes, rotaryDim, maxPosition, hasStarts, cos, sin, starts, scratch'>;
  /** The last two arguments of both are the range of batch · numKvHeads to work on. */
  forward(q: number, k: number, v: number, o: number, lse: number, begin: number, end: number): void;
  backward: Numbers<'dy, q, k, v, o, lse, dq, dk, dv, begin, end'>;
}

type Named<N extends string> = Record<N, TensorInfo>;

/** Sets the module up for a call; `body` gets its exports, with offsets that stay valid in it. */
function withSetup(backend: unknown, inputs: Inputs, s: AttentionShape, body: (wasm: AttentionWasm, at: (t: TensorInfo) => number) => void): void {
  const wasm = wasmExports<AttentionWasm>(backend, wasmSource);
  const at = (t: TensorInfo): number => wasmOffset(backend, t);
  withWasmScratch(backend, wasm.scratchBytes(s.keyLength, s.headDim), (scratch) => {
    const { cos, sin, starts } = inputs as Named<'cos' | 'sin' | 'starts'>;
    wasm.setup(
      ...[s.batch, s.queryLength, s.keyLength, s.numHeads, s.numKvHeads, s.headDim, s.scale, s.window],
      ...[s.rotaryDim, s.maxPosition, s.hasStarts, at(cos), at(sin), at(starts), scratch],
    );
    body(wasm, at);
  });
}

export function forwardWasm(backend: unknown, inputs: Inputs, shape: AttentionShape): TensorInfo[] {
  const { q, k, v } = inputs as Named<'q' | 'k' | 'v'>;
  const o = wasmOutput(backend, q.shape);
  const lse = wasmOutput(backend, [shape.batch * shape.numHeads * shape.queryLength]);
  withSetup(backend, inputs, shape, (wasm, at) => wasm.forward(at(q), at(k), at(v), at(o), at(lse), 0, shape.batch * shape.numKvHeads));
  return [o, lse];
}

export function backwardWasm(backend: unknown, inputs: Inputs, shape: AttentionShape): TensorInfo[] {
  const { dy, q, k, v, o, lse } = inputs as Named<'dy' | 'q' | 'k' | 'v' | 'o' | 'lse'>;
  const [dq, dk, dv] = [wasmOutput(backend, q.shape), wasmOutput(backend, k.shape), wasmOutput(backend, v.shape)];
  withSetup(backend, inputs, shape, (wasm, at) => {
    wasm.backward(...[dy, q, k, v, o, lse, dq, dk, dv].map(at), 0, shape.batch * shape.numKvHeads);
  });
  return [dq, dk, dv];
}
