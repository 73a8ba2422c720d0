import type { TensorInfo } from '@tensorflow/tfjs-core';
import { wasmGemm, type QuantizedOperand } from '../matmul/gemm.js';
import { weightTensors, type QuantizedAttrs } from '../nf4-dequantize/weight.js';
import type { Attrs, Inputs, KernelFunction } from '../runtime/op.js';
import { wasmOutput } from '../runtime/wasm.js';

type Matrices = Record<string, TensorInfo | undefined>;

/** LowrankLinear on WASM: bias, base product and low-rank update are added up in y itself. */
export const linearWasm: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { x, a, b, bias, loraInput } = inputs as Matrices & { x: TensorInfo };
  const tokens = x.shape[0] as number;
  const y = wasmOutput(backend, [tokens, attrs['rows'] as number]);
  wasmGemm(backend, x, weightOperand(inputs, attrs), y, 'nt', { bias });
  if (a === undefined || b === undefined) return [y];
  const xa = wasmOutput(backend, [tokens, a.shape[0] as number]);
  wasmGemm(backend, loraInput ?? x, a, xa, 'nt');
  wasmGemm(backend, xa, b, y, 'nt', { scale: attrs['scale'] as number, accumulate: true });
  return [y, xa];
};

/** LowrankLinearGrad on WASM. */
export const linearGradWasm: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { dy, a, dyb } = inputs as Matrices & { dy: TensorInfo };
  const dx = wasmOutput(backend, [dy.shape[0] as number, attrs['cols'] as number]);
  wasmGemm(backend, dy, weightOperand(inputs, attrs), dx, 'nn');
  if (a !== undefined && dyb !== undefined) wasmGemm(backend, dyb, a, dx, 'nn', { accumulate: true });
  return dx;
};

function weightOperand(inputs: Inputs, attrs: Attrs): TensorInfo | QuantizedOperand {
  return (inputs as Matrices)['w'] ?? { inputs: weightTensors(inputs as Record<string, TensorInfo>), attrs: attrs as unknown as QuantizedAttrs };
}
