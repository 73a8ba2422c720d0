import type { TensorInfo } from '@tensorflow/tfjs-core';
import { gpuMatmul, gpuProduct, gpuProducts } from '../matmul/webgpu/choose.js';
import { FEW_ROWS } from '../matmul/webgpu/few-rows/few-rows.js';
import { wholeView, type GpuJob, type GpuSegment, type GpuView } from '../matmul/webgpu/job-text.js';
import { weightOperand, type GpuOperand } from '../matmul/webgpu/operand.js';
import { packedOperand } from '../nf4-matmul/webgpu.js';
import type { Inputs, KernelFunction } from '../runtime/op.js';
import { gpuOutput } from '../runtime/webgpu/dispatch.js';
import {
  membersOf,
  totalRank,
  type LinearAttrs,
  type MemberAttrs,
  type MemberTensors,
  type WithX,
} from './linear-group.js';

type Tensors = MemberTensors<TensorInfo>;

/**
 * LowrankLinear on WebGPU: xa of all members, then base products, biases and low-rank updates, in one dispatch each.
 */
export const linearWebgpu: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { members } = attrs as unknown as LinearAttrs;
  const x = inputs['x'] as TensorInfo;
  const tokens = x.shape[0] as number;
  const tensors = each(inputs, members);
  if (tokens <= FEW_ROWS && tensors.length === 1) return fewRows(backend, x, tensors[0] as [Tensors, MemberAttrs]);
  const rank = totalRank(members);
  const xa = rank === 0 ? [] : [gpuOutput(backend, [tokens, rank])];
  const narrow = tensors.flatMap(([{ a, loraInput }, member]): GpuJob[] => {
    if (a === undefined) return [];
    const segment = {
      k: member.cols,
      scale: 1,
      a: wholeView(loraInput ?? x),
      aAlongK: true,
      b: wholeView(a),
      bAlongK: true,
    };
    return [
      {
        m: tokens,
        n: member.rank,
        segments: [segment],
        outs: [{ ...columns(xa[0] as TensorInfo, member), rows: tokens }],
      },
    ];
  });
  if (narrow.length > 0) gpuProducts(backend, narrow, true);
  const ys = members.map(({ rows }) => gpuOutput(backend, [tokens, rows]));
  const wide = tensors.flatMap(([own, member], i) =>
    member.valueUnused ? [] : forwardJobs(backend, x, own, member, xa[0], ys[i] as TensorInfo),
  );
  if (wide.length > 0) gpuProducts(backend, wide);
  return [...xa, ...ys];
};

/** y of a member: one job, or one for each part of its weight. */
function forwardJobs(
  backend: unknown,
  x: TensorInfo,
  own: Tensors,
  member: MemberAttrs,
  xa: TensorInfo | undefined,
  y: TensorInfo,
): GpuJob[] {
  const { rank, scale, rows, cols } = member;
  const tokens = x.shape[0] as number;
  return partsOf(operand(backend, own, member), rows).map(({ part, first, rows: n }) => {
    const segments: GpuSegment[] = [
      { k: cols, scale: 1, a: wholeView(x), aAlongK: true, b: weightView(part, cols), bAlongK: true },
    ];
    if (own['b'] !== undefined && xa !== undefined) {
      segments.push({
        k: rank,
        scale,
        a: columns(xa, member),
        aAlongK: true,
        b: { tensor: own['b'], offset: first * rank, stride: rank },
        bAlongK: true,
      });
    }
    const bias = own['bias'] === undefined ? undefined : { tensor: own['bias'], offset: first, stride: 0 };
    return { m: tokens, n, segments, bias, outs: [{ tensor: y, offset: first, stride: rows, rows: tokens }] };
  });
}

/** A few tokens, as in generation: dot products with the rows of the weight. */
function fewRows(backend: unknown, x: TensorInfo, [own, member]: [Tensors, MemberAttrs]): TensorInfo[] {
  const { a, b, bias, loraInput } = own;
  const [m, n, k] = [x.shape[0] as number, member.rows, member.cols];
  const xa = a === undefined ? [] : [gpuMatmul(backend, loraInput ?? x, a, 'nt', 1)];
  const low =
    xa[0] === undefined || b === undefined ? undefined : { p: xa[0], q: b, rank: member.rank, scale: member.scale };
  const out = gpuOutput(backend, [m, n]);
  gpuProduct(
    backend,
    { m, n, k, scale: 1, a: x, aAlongK: true, b: operand(backend, own, member), bAlongK: true, out },
    { bias, low },
  );
  return [...xa, out];
}

/** LowrankLowRankGrad on WebGPU, one dispatch where it may bind as many buffers. */
export const lowRankGradWebgpu: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { members } = attrs as unknown as LinearAttrs;
  const xa = inputs['xa'] as TensorInfo;
  const tokens = xa.shape[0] as number;
  const dyb = gpuOutput(backend, xa.shape);
  const dbs: TensorInfo[] = [];
  const jobs = each(inputs, members).flatMap(([{ dy, b }, member]): GpuJob[] => {
    if (dy === undefined || b === undefined) return [];
    const { rows, rank, scale } = member;
    const db = gpuOutput(backend, [rows, rank]);
    dbs.push(db);
    return [
      {
        m: tokens,
        n: rank,
        segments: [{ k: rows, scale, a: wholeView(dy), aAlongK: true, b: wholeView(b), bAlongK: false }],
        outs: [{ ...columns(dyb, member), rows: tokens }],
      },
      {
        m: rows,
        n: rank,
        segments: [{ k: tokens, scale, a: wholeView(dy), aAlongK: false, b: columns(xa, member), bAlongK: false }],
        outs: [{ ...wholeView(db), rows }],
      },
    ];
  });
  gpuProducts(backend, jobs, true);
  return [dyb, ...dbs];
};

/** LowrankLinearGrad on WebGPU, one dispatch where it may bind as many buffers. */
export const linearGradWebgpu: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { members, withX } = attrs as unknown as LinearAttrs & WithX;
  const { x, dyb } = inputs as Record<string, TensorInfo | undefined>;
  const tensors = each(inputs, members);
  const tokens = (tensors[0]?.[0]['dy'] as TensorInfo).shape[0] as number;
  const cols = (members[0] as MemberAttrs).cols;
  const jobs: GpuJob[] = [];
  const outputs: TensorInfo[] = [];
  const made = (rows: number): TensorInfo => {
    const output = gpuOutput(backend, [rows, cols]);
    outputs.push(output);
    return output;
  };
  const low = (a: TensorInfo, member: MemberAttrs): GpuSegment => ({
    k: member.rank,
    scale: 1,
    a: columns(dyb as TensorInfo, member),
    aAlongK: true,
    b: wholeView(a),
    bAlongK: false,
  });
  if (withX) {
    const segments = tensors.flatMap(([own, member]) => [
      ...partsOf(operand(backend, own, member), member.rows).map(({ part, first, rows }): GpuSegment => {
        const dy = { tensor: own['dy'] as TensorInfo, offset: first, stride: member.rows };
        return { k: rows, scale: 1, a: dy, aAlongK: true, b: weightView(part, cols), bAlongK: false };
      }),
      ...(own['a'] === undefined || own['loraInput'] !== undefined ? [] : [low(own['a'], member)]),
    ]);
    jobs.push({ m: tokens, n: cols, segments, outs: [{ ...wholeView(made(tokens)), rows: tokens }] });
  }
  // Those that read x are one product, whose rows are all their dA's.
  const sharing: { view: GpuView & { rows: number }; firstColumn: number }[] = [];
  for (const [{ a, loraInput }, member] of tensors) {
    if (a === undefined) continue;
    const view = { ...wholeView(made(member.rank)), rows: member.rank };
    if (loraInput === undefined) {
      sharing.push({ view, firstColumn: member.firstColumn });
      continue;
    }
    jobs.push(transposed(columns(dyb as TensorInfo, member), loraInput, [view]));
    jobs.push({ m: tokens, n: cols, segments: [low(a, member)], outs: [{ ...wholeView(made(tokens)), rows: tokens }] });
  }
  if (sharing.length === tensors.filter(([{ a }]) => a !== undefined).length && sharing.length > 0) {
    jobs.push(
      transposed(
        wholeView(dyb as TensorInfo),
        x as TensorInfo,
        sharing.map(({ view }) => view),
      ),
    );
  } else {
    for (const { view, firstColumn } of sharing)
      jobs.push(transposed({ ...wholeView(dyb as TensorInfo), offset: firstColumn }, x as TensorInfo, [view]));
  }
  gpuProducts(backend, jobs);
  return outputs;
};

/** Columns of dyb, as many as the outputs have rows, transposed, times x. */
function transposed(dyb: GpuView, x: TensorInfo, outs: GpuJob['outs']): GpuJob {
  const m = outs.reduce((sum, { rows }) => sum + rows, 0);
  const [tokens, n] = x.shape as [number, number];
  return { m, n, segments: [{ k: tokens, scale: 1, a: dyb, aAlongK: false, b: wholeView(x), bAlongK: false }], outs };
}

function each(inputs: Inputs, members: readonly MemberAttrs[]): [Tensors, MemberAttrs][] {
  return membersOf<TensorInfo>(inputs as Record<string, TensorInfo>, members.length).map((own, i) => [
    own,
    members[i] as MemberAttrs,
  ]);
}

/** A member's part of what all share. */
function columns(tensor: TensorInfo, { firstColumn }: MemberAttrs): GpuView {
  return { ...wholeView(tensor), offset: firstColumn };
}

function operand(backend: unknown, own: Tensors, { quantized }: MemberAttrs): GpuOperand {
  if (own['w'] !== undefined) return weightOperand(backend, own['w']);
  if (quantized === undefined) throw new Error('a linear layer without a weight');
  return packedOperand(backend, own as Inputs, quantized);
}

function partsOf(
  weight: GpuOperand,
  rows: number,
): readonly { readonly part: GpuOperand; readonly first: number; readonly rows: number }[] {
  return weight.parts ?? [{ part: weight, first: 0, rows }];
}

/** A float weight as the matrix it is. */
function weightView(weight: GpuOperand, stride: number): GpuOperand | GpuView {
  return weight.code !== '' ? weight : { tensor: weight.tensors[0] as TensorInfo, offset: 0, stride };
}
