import type { TensorInfo } from '@tensorflow/tfjs-core';
import { wasmProducts, type Product, type Term } from '../matmul/wasm/gemm.js';
import { weightTensors } from '../nf4-dequantize/weight.js';
import type { KernelFunction } from '../runtime/op.js';
import { wasmOutput } from '../runtime/wasm/module.js';
import {
  membersOf,
  totalRank,
  type LinearAttrs,
  type MemberAttrs,
  type MemberTensors,
  type WithX,
} from './linear-group.js';

type Tensors = MemberTensors<TensorInfo>;

/** LowrankLinear on WASM: xa of all members is one job, and y = x·Wᵀ + scale · xa·Bᵀ of all members another. */
export const linearWasm: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { members } = attrs as unknown as LinearAttrs;
  const x = inputs['x'] as TensorInfo;
  const tokens = x.shape[0] as number;
  const tensors = membersOf<TensorInfo>(inputs as Record<string, TensorInfo>, members.length);
  const rank = totalRank(members);
  const xa = rank === 0 ? undefined : wasmOutput(backend, [tokens, rank]);
  const ys = members.map(({ rows }) => wasmOutput(backend, [tokens, rows]));
  const [low, high]: [Product[], Product[]] = [[], []];
  members.forEach((member, i) => {
    const { a, b, bias, loraInput } = tensors[i] as Tensors;
    const terms: Term[] = [{ x, w: weightOf(tensors[i] as Tensors, member), form: 'nt' }];
    if (xa !== undefined && a !== undefined && b !== undefined) {
      low.push({ terms: [{ x: loraInput ?? x, w: a, form: 'nt' }], y: xa, firstOfY: member.firstColumn });
      terms.push({ ...columnsOf(xa, member), w: b, form: 'nt', scale: member.scale });
    }
    if (!member.valueUnused) high.push({ terms, y: ys[i] as TensorInfo, bias });
  });
  wasmProducts(backend, low);
  wasmProducts(backend, high);
  return xa === undefined ? ys : [xa, ...ys];
};

/** LowrankLowRankGrad on WASM: one job for dyb, and one for all dB. */
export const lowRankGradWasm: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { members } = attrs as unknown as LinearAttrs;
  const xa = inputs['xa'] as TensorInfo;
  const dyb = wasmOutput(backend, xa.shape);
  const [low, high]: [Product[], Product[]] = [[], []];
  membersOf<TensorInfo>(inputs as Record<string, TensorInfo>, members.length).forEach(({ dy, b }, i) => {
    if (dy === undefined || b === undefined) return;
    const { scale, firstColumn, rank, rows } = members[i] as MemberAttrs;
    low.push({ terms: [{ x: dy, w: b, form: 'nn', scale }], y: dyb, firstOfY: firstColumn });
    high.push({
      terms: [{ x: dy, w: xa, firstOfW: firstColumn, columnsOfW: rank, form: 'tn', scale }],
      y: wasmOutput(backend, [rows, rank]),
    });
  });
  wasmProducts(backend, low);
  wasmProducts(backend, high);
  return [dyb, ...high.map(({ y }) => y)];
};

/**
 * LowrankLinearGrad on WASM: one job for dx, and one for all dA and what goes back to inputs of the low-rank updates.
 */
export const linearGradWasm: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { members, withX } = attrs as unknown as LinearAttrs & WithX;
  const { x, dyb } = inputs as Record<string, TensorInfo | undefined>;
  const tensors = membersOf<TensorInfo>(inputs as Record<string, TensorInfo>, members.length);
  const tokens = (tensors[0]?.['dy'] as TensorInfo).shape[0] as number;
  const { cols } = members[0] as MemberAttrs;
  const terms: Term[] = [];
  const own = members.flatMap((member, i): Product[] => {
    const { dy, a, loraInput, ...weight } = tensors[i] as Tensors;
    if (withX) terms.push({ x: dy as TensorInfo, w: weightOf(weight, member), form: 'nn' });
    if (a === undefined) return [];
    const low = columnsOf(dyb as TensorInfo, member);
    const da: Product = {
      terms: [{ ...low, w: (loraInput ?? x) as TensorInfo, form: 'tn' }],
      y: wasmOutput(backend, [member.rank, cols]),
    };
    const back: Term = { ...low, w: a, form: 'nn' };
    if (loraInput !== undefined) return [da, { terms: [back], y: wasmOutput(backend, [tokens, cols]) }];
    if (withX) terms.push(back);
    return [da];
  });
  const dx: Product[] = withX ? [{ terms, y: wasmOutput(backend, [tokens, cols]) }] : [];
  wasmProducts(backend, dx);
  wasmProducts(backend, own);
  return [...dx, ...own].map(({ y }) => y);
};

/** The columns of xa or dyb that are a member's. */
function columnsOf(all: TensorInfo, { firstColumn, rank }: MemberAttrs): Pick<Term, 'x' | 'first' | 'columns'> {
  return { x: all, first: firstColumn, columns: rank };
}

function weightOf(own: Tensors, { quantized }: MemberAttrs): Term['w'] {
  if (own['w'] !== undefined) return own['w'];
  if (quantized === undefined) throw new Error('a linear layer without a weight');
  return { inputs: weightTensors(own as Record<string, TensorInfo>), attrs: quantized };
}
