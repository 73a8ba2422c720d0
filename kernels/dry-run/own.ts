import type * as tf from '@tensorflow/tfjs-core';
import type { AttentionShape } from '../attention/shape.js';
import { totalRank, type LinearAttrs, type MemberAttrs, type WithX } from '../linear/linear-group.js';
import { matmulSizes, type MatmulForm } from '../matmul/form.js';
import type { DryRunBackend } from './backend.js';
import type { DryKernel } from './stock.js';

/**
 * Scratch of the WASM product (`scratchBytes` in matmul/wasm/wasm.as.ts): a block of the right operand, panels of both, a tile
 * of the result.
 */
const GEMM_SCRATCH = 4 * (384 * 384 + 8 * 384 + 5 * 384 + 5 * 8 + 16);

function gemmScratch(backend: DryRunBackend): void {
  if (backend.target === 'wasm') backend.scratch(backend.threads * GEMM_SCRATCH);
}

/** Keys, values and their gradients of one head, rotated and transposed, as attention on WASM lays them out. */
function attentionScratch({ keyLength, headDim }: AttentionShape): number {
  const [keys, queries, width] = [64, 32, Math.ceil(headDim / 8) * 8];
  return 4 * (6 * Math.ceil(keyLength / keys) * keys * width + 5 * queries * width + keys * width + 2 * queries * keys);
}

/** xa `[tokens, Σ r]` where there are low-rank updates; `[tokens, out]` of each member. */
const linear: DryKernel = ({ x }, attrs, backend) => {
  const { members } = attrs as unknown as LinearAttrs;
  const tokens = x?.shape[0] as number;
  const rank = totalRank(members);
  const outputs = [...(rank === 0 ? [] : [rank]), ...members.map(({ rows }) => rows)].map((width) =>
    backend.output([tokens, width]),
  );
  gemmScratch(backend);
  return outputs;
};

/** dyb and dB of each member. */
const lowRankGrad: DryKernel = ({ xa }, attrs, backend) => {
  const { members } = attrs as unknown as LinearAttrs;
  const outputs = [
    backend.output(xa?.shape as number[]),
    ...members.filter(({ rank }) => rank > 0).map(({ rows, rank }) => backend.output([rows, rank])),
  ];
  gemmScratch(backend);
  return outputs;
};

/** dx where it is asked for; dA of each member, and the gradient of its own input. */
const linearGrad: DryKernel = (inputs, attrs, backend) => {
  const { members, withX } = attrs as unknown as LinearAttrs & WithX;
  const tokens = inputs['dy0']?.shape[0] as number;
  const wide = (rows: number): tf.TensorInfo => backend.output([rows, (members[0] as MemberAttrs).cols]);
  const outputs = withX ? [wide(tokens)] : [];
  members.forEach(({ rank }, i) => {
    if (rank > 0) outputs.push(wide(rank), ...(inputs[`loraInput${i}`] === undefined ? [] : [wide(tokens)]));
  });
  gemmScratch(backend);
  return outputs;
};

const like =
  (...names: string[]): DryKernel =>
  (inputs, _attrs, backend) =>
    names.map((name) => backend.output((inputs[name] as tf.TensorInfo).shape));

/**
 * Sizes of what the hand-written kernels allocate, their temporary tensors included. An op without an entry is taken
 * through its reference, which may need more than its kernel.
 */
export const OWN: Readonly<Record<string, DryKernel>> = {
  LowrankEmbedding: ({ table, ids }, _attrs, backend) =>
    backend.output([ids?.shape[0] as number, table?.shape[1] as number]),
  LowrankEmbeddingGrad: ({ dy }, attrs, backend) => backend.output([attrs['vocab'] as number, dy?.shape[1] as number]),
  LowrankRmsNorm: ({ x }, _attrs, backend) => [
    backend.output(x?.shape as number[]),
    backend.output([x?.shape[0] as number]),
  ],
  LowrankAddRmsNorm: ({ x }, _attrs, backend) => [
    ...[1, 2].map(() => backend.output(x?.shape as number[])),
    backend.output([x?.shape[0] as number]),
  ],
  LowrankRmsNormGrad: like('x'),
  LowrankRmsNormWeightGrad: ({ x }, _attrs, backend) => backend.output([x?.shape[1] as number]),
  LowrankLayerNorm: ({ x }, _attrs, backend) => [
    backend.output(x?.shape as number[]),
    backend.output([x?.shape[0] as number, 2]),
  ],
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
  LowrankPlainLinear: linear,
  LowrankLowRankGrad: lowRankGrad,
  LowrankLinearGrad: linearGrad,
  LowrankAttention: ({ q, k }, attrs, backend) => {
    const shape = attrs as unknown as AttentionShape;
    const outputs = [
      backend.output(q?.shape as number[]),
      backend.output([shape.batch * shape.numHeads * shape.queryLength]),
    ];
    if (backend.target === 'wasm') backend.scratch(backend.threads * attentionScratch(shape));
    else if (shape.rotaryDim > 0)
      release(backend, [backend.output(q?.shape as number[]), backend.output(k?.shape as number[])]);
    return outputs;
  },
  LowrankAttentionGrad: ({ q, k, v }, attrs, backend) => {
    const shape = attrs as unknown as AttentionShape;
    const made = (): tf.TensorInfo[] => [q, k].map((t) => backend.output(t?.shape as number[]));
    const stats =
      backend.target === 'wasm' ? [] : [backend.output([shape.batch * shape.numHeads * shape.queryLength, 2])];
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
