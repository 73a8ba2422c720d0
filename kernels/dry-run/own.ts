import type * as tf from '@tensorflow/tfjs-core';
import type { AttentionShape } from '../attention/shape.js';
import { matmulSizes, type MatmulForm } from '../matmul/form.js';
import type { DryRunBackend } from './backend.js';
import type { DryKernel } from './stock.js';

/** Scratch of the WASM product: a panel of each operand, a tile of the result. */
const GEMM_SCRATCH = 4 * (96 * 384 + 384 * 384 + 8 * 384 + 64);

function gemmScratch(backend: DryRunBackend): void {
  if (backend.target === 'wasm') backend.scratch(backend.threads * GEMM_SCRATCH);
}

/** Keys, values and their gradients of one head, rotated and transposed, as attention on WASM lays them out. */
function attentionScratch({ keyLength, headDim }: AttentionShape): number {
  const [keys, queries, width] = [64, 32, Math.ceil(headDim / 8) * 8];
  return 4 * (6 * Math.ceil(keyLength / keys) * keys * width + 5 * queries * width + keys * width + 2 * queries * keys);
}

/** `[tokens, out]`, and `[tokens, rank]` with a low-rank update. */
const linear: DryKernel = ({ x, a }, attrs, backend) => {
  const tokens = x?.shape[0] as number;
  const y = backend.output([tokens, attrs['rows'] as number]);
  gemmScratch(backend);
  return a === undefined ? [y] : [y, backend.output([tokens, a.shape[0] as number])];
};

const like =
  (...names: string[]): DryKernel =>
  (inputs, _attrs, backend) =>
    names.map((name) => backend.output((inputs[name] as tf.TensorInfo).shape));

/**
 * Sizes of what the hand-written kernels allocate, their temporary tensors included. An op without an entry is taken through its
 * reference, which may need more than its kernel.
 */
export const OWN: Readonly<Record<string, DryKernel>> = {
  LowrankEmbedding: ({ table, ids }, _attrs, backend) => backend.output([ids?.shape[0] as number, table?.shape[1] as number]),
  LowrankEmbeddingGrad: ({ dy }, attrs, backend) => backend.output([attrs['vocab'] as number, dy?.shape[1] as number]),
  LowrankRmsNorm: ({ x }, _attrs, backend) => [backend.output(x?.shape as number[]), backend.output([x?.shape[0] as number])],
  LowrankAddRmsNorm: ({ x }, _attrs, backend) => [...[1, 2].map(() => backend.output(x?.shape as number[])), backend.output([x?.shape[0] as number])],
  LowrankRmsNormGrad: like('x'),
  LowrankRmsNormWeightGrad: ({ x }, _attrs, backend) => backend.output([x?.shape[1] as number]),
  LowrankLayerNorm: ({ x }, _attrs, backend) => [backend.output(x?.shape as number[]), backend.output([x?.shape[0] as number, 2])],
  LowrankLayerNormGrad: like('x'),
  LowrankLayerNormWeightsGrad: ({ x }, _attrs, backend) => [1, 2].map(() => backend.output([x?.shape[1] as number])),
  LowrankSwiglu: like('gate'),
  LowrankSwigluGrad: like('gate', 'up'),
  LowrankActivation: like('x'),
  LowrankActivationGrad: like('x'),
  LowrankDropout: like('x'),
  LowrankAdamW: () => [],
  LowrankAccumulate: () => [],
  LowrankGlobalNorm: (_inputs, _attrs, backend) => backend.output([]),
  LowrankSoftmaxLoss: ({ logits }, attrs, backend) => {
    const losses = backend.output([logits?.shape[0] as number]);
    return attrs['withGradient'] === true ? [losses, backend.alias(logits as tf.TensorInfo)] : [losses];
  },
  LowrankDequantize: (_inputs, attrs, backend) => backend.output([attrs['rows'] as number, attrs['cols'] as number]),
  LowrankMatmul: ({ x, w }, attrs, backend) => {
    const { n, m } = matmulSizes(x?.shape as number[], w?.shape as number[], attrs['form'] as MatmulForm);
    const y = backend.output([n, m]);
    gemmScratch(backend);
    return y;
  },
  LowrankQuantizedMatmul: ({ x }, attrs, backend) => {
    const y = backend.output([x?.shape[0] as number, attrs[attrs['transposed'] === true ? 'cols' : 'rows'] as number]);
    gemmScratch(backend);
    return y;
  },
  LowrankLinear: linear,
  LowrankLinearGrad: ({ dy }, attrs, backend) => {
    const dx = backend.output([dy?.shape[0] as number, attrs['cols'] as number]);
    gemmScratch(backend);
    return dx;
  },
  LowrankAttention: ({ q, k }, attrs, backend) => {
    const shape = attrs as unknown as AttentionShape;
    const outputs = [backend.output(q?.shape as number[]), backend.output([shape.batch * shape.numHeads * shape.queryLength])];
    if (backend.target === 'wasm') backend.scratch(backend.threads * attentionScratch(shape));
    else if (shape.rotaryDim > 0) release(backend, [backend.output(q?.shape as number[]), backend.output(k?.shape as number[])]);
    return outputs;
  },
  LowrankAttentionGrad: ({ q, k, v }, attrs, backend) => {
    const shape = attrs as unknown as AttentionShape;
    const made = (): tf.TensorInfo[] => [q, k].map((t) => backend.output(t?.shape as number[]));
    const stats = backend.target === 'wasm' ? [] : [backend.output([shape.batch * shape.numHeads * shape.queryLength, 2])];
    const gradients = made();
    const dv = backend.output(v?.shape as number[]);
    if (backend.target === 'wasm') {
      backend.scratch(backend.threads * attentionScratch(shape));
      return [...gradients, dv];
    }
    if (shape.rotaryDim === 0) {
      release(backend, stats);
      return [...gradients, dv];
    }
    release(backend, [...made(), ...stats]);
    const turnedBack = made();
    release(backend, gradients);
    return [...turnedBack, dv];
  },
};

function release(backend: DryRunBackend, tensors: readonly tf.TensorInfo[]): void {
  for (const { dataId } of tensors) backend.disposeData(dataId, true);
}
