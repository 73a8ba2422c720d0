import type { TensorInfo } from '@tensorflow/tfjs-core';
import { wasmGemms, type Factor, type GemmPart } from '../matmul/gemm.js';
import { weightTensors } from '../nf4-dequantize/weight.js';
import type { KernelFunction } from '../runtime/op.js';
import { wasmOutput } from '../runtime/wasm.js';
import { membersOf, totalRank, type LinearAttrs, type MemberAttrs, type MemberTensors, type WithX } from './members.js';

type Tensors = MemberTensors<TensorInfo>;

/** LowrankLinear on WASM: all that reads x is one product, whose columns are those of every W and A; the low-rank updates are added in y itself. */
export const linearWasm: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { members } = attrs as unknown as LinearAttrs;
  const x = inputs['x'] as TensorInfo;
  const tokens = x.shape[0] as number;
  const tensors = membersOf<TensorInfo>(inputs as Record<string, TensorInfo>, members.length);
  const rank = totalRank(members);
  const xa = rank === 0 ? [] : [wasmOutput(backend, [tokens, rank])];
  const ys = members.map(({ rows }) => wasmOutput(backend, [tokens, rows]));
  const products = new Map<TensorInfo, GemmPart[]>();
  const add = (left: TensorInfo, part: GemmPart): void => void products.set(left, [...(products.get(left) ?? []), part]);
  members.forEach((member, i) => {
    const { a, bias, loraInput } = tensors[i] as Tensors;
    add(x, { w: weightOf(tensors[i] as Tensors, member), y: ys[i] as TensorInfo, bias });
    if (a !== undefined) add(loraInput ?? x, { w: a, y: xa[0] as TensorInfo, first: member.firstColumn });
  });
  for (const [left, parts] of products) wasmGemms(backend, { x: left }, parts, 'nt');
  members.forEach(({ rank: inner, firstColumn, scale }, i) => {
    const { b } = tensors[i] as Tensors;
    if (b !== undefined) wasmGemms(backend, { x: xa[0] as TensorInfo, first: firstColumn, columns: inner }, [{ w: b, y: ys[i] as TensorInfo, scale, accumulate: true }], 'nt');
  });
  return [...xa, ...ys];
};

/** LowrankLowRankGrad on WASM. */
export const lowRankGradWasm: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { members } = attrs as unknown as LinearAttrs;
  const xa = inputs['xa'] as TensorInfo;
  const dyb = wasmOutput(backend, xa.shape);
  const dbs = membersOf<TensorInfo>(inputs as Record<string, TensorInfo>, members.length).flatMap(({ dy, b }, i) => {
    if (dy === undefined || b === undefined) return [];
    const { scale, firstColumn, rank, rows } = members[i] as MemberAttrs;
    const db = wasmOutput(backend, [rows, rank]);
    wasmGemms(backend, { x: dy }, [{ w: b, y: dyb, first: firstColumn, scale }], 'nn');
    wasmGemms(backend, { x: dy }, [{ w: xa, firstOfW: firstColumn, columns: rank, y: db, scale }], 'tn');
    return [db];
  });
  return [dyb, ...dbs];
};

/** LowrankLinearGrad on WASM. */
export const linearGradWasm: KernelFunction<unknown> = ({ inputs, attrs, backend }) => {
  const { members, withX } = attrs as unknown as LinearAttrs & WithX;
  const { x, dyb } = inputs as Record<string, TensorInfo | undefined>;
  const tensors = membersOf<TensorInfo>(inputs as Record<string, TensorInfo>, members.length);
  const tokens = (tensors[0]?.['dy'] as TensorInfo).shape[0] as number;
  const { cols } = members[0] as MemberAttrs;
  const dx = withX ? [wasmOutput(backend, [tokens, cols])] : [];
  const own = members.flatMap((member, i) => {
    const { dy, a, loraInput, ...weight } = tensors[i] as Tensors;
    const low: Factor = { x: dyb as TensorInfo, first: member.firstColumn, columns: member.rank };
    if (dx[0] !== undefined) {
      wasmGemms(backend, { x: dy as TensorInfo }, [{ w: weightOf(weight, member), y: dx[0], accumulate: i > 0 }], 'nn');
      if (a !== undefined && loraInput === undefined) wasmGemms(backend, low, [{ w: a, y: dx[0], accumulate: true }], 'nn');
    }
    if (a === undefined) return [];
    const da = wasmOutput(backend, [member.rank, cols]);
    wasmGemms(backend, low, [{ w: (loraInput ?? x) as TensorInfo, y: da }], 'tn');
    if (loraInput === undefined) return [da];
    const back = wasmOutput(backend, [tokens, cols]);
    wasmGemms(backend, low, [{ w: a, y: back }], 'nn');
    return [da, back];
  });
  return [...dx, ...own];
};

function weightOf(own: Tensors, { quantized }: MemberAttrs): GemmPart['w'] {
  if (own['w'] !== undefined) return own['w'];
  if (quantized === undefined) throw new Error('a linear layer without a weight');
  return { inputs: weightTensors(own as Record<string, TensorInfo>), attrs: quantized };
}
