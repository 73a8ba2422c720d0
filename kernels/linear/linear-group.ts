import type * as tf from '@tensorflow/tfjs-core';
import { quantizedAttrs, quantizedInputs, type QuantizedAttrs } from '../nf4-dequantize/weight.js';
import type { FrozenWeight, LowRank } from '../types.js';

/** One of the linear layers that read the same x. */
export interface LinearMember {
  readonly weight: FrozenWeight;
  /** `[out]` */
  readonly bias?: tf.Tensor1D | undefined;
  readonly lora?: LowRank | undefined;
  /** What the low-rank update reads instead of x (x after dropout), `[tokens, in]`. */
  readonly loraInput?: tf.Tensor2D | undefined;
  /** Whether y is wanted for its gradient alone: its values are then anything. */
  readonly valueUnused?: boolean | undefined;
}

/** What an op knows of a member beside its tensors. */
export interface MemberAttrs {
  readonly rows: number;
  readonly cols: number;
  readonly scale: number;
  /** 0 without a low-rank update. */
  readonly rank: number;
  /** Where its columns begin in xa and dyb, which all members share. */
  readonly firstColumn: number;
  /** Undefined for a float weight. */
  readonly quantized: QuantizedAttrs | undefined;
  /** Kernels may leave y unwritten. */
  readonly valueUnused: boolean;
}

export interface LinearAttrs {
  readonly members: readonly MemberAttrs[];
  /** Of the forward op, in the order of its inputs. */
  readonly inputNames: readonly string[];
}

/** The attribute of LowrankLinearGrad beside LowrankLinear's: whether the gradient of x is wanted. */
export interface WithX {
  readonly withX: boolean;
}

/** Tensors that an op may take of a member: those of its weight, float or 4-bit, its parameters, and its gradient. */
export const WEIGHT_NAMES = ['w', 'packed', 'code', 'absmax', 'absmaxCodes', 'absmaxMap', 'nestedAbsmax'] as const;
const MEMBER_NAMES = [...WEIGHT_NAMES, 'bias', 'a', 'b', 'loraInput', 'dy'] as const;
export type MemberName = (typeof MEMBER_NAMES)[number];

/** The tensors of a member, as far as an op takes them. */
export type MemberTensors<T> = { readonly [name in MemberName]?: T };

/** What an input or a gradient of a member is called among those of all members. */
export function inputName(name: MemberName, index: number): string {
  return `${name}${index}`;
}

/** The tensors of a member as inputs of an op. */
export function namedMember({ weight, bias, lora, loraInput }: LinearMember, index: number): Record<string, tf.Tensor> {
  const base = weight.kind === 'dense' ? { w: weight.values } : quantizedInputs(weight);
  return namedTensors({ ...base, bias, a: lora?.a, b: lora?.b, loraInput }, MEMBER_NAMES, index);
}

/** Those of a member's tensors that have one of these names, as inputs of an op. */
export function namedTensors<T>(
  tensors: Readonly<Record<string, T | undefined>>,
  names: readonly MemberName[],
  index: number,
): Record<string, T> {
  const named: Record<string, T> = {};
  for (const name of names) {
    const tensor = tensors[name];
    if (tensor !== undefined) named[inputName(name, index)] = tensor;
  }
  return named;
}

export function memberAttrs(members: readonly LinearMember[]): MemberAttrs[] {
  let firstColumn = 0;
  return members.map(({ weight, lora, valueUnused = false }) => {
    const [rows, cols] = weight.shape;
    const rank = lora?.a.shape[0] ?? 0;
    const own = {
      rows,
      cols,
      scale: lora?.scale ?? 0,
      rank,
      firstColumn,
      quantized: weight.kind === 'dense' ? undefined : quantizedAttrs(weight),
      valueUnused,
    };
    firstColumn += rank;
    return own;
  });
}

/** Columns of xa and dyb. */
export function totalRank(members: readonly MemberAttrs[]): number {
  return members.reduce((sum, { rank }) => sum + rank, 0);
}

/** The tensors of each member among an op's inputs. */
export function membersOf<T>(inputs: Readonly<Record<string, T>>, count: number): MemberTensors<T>[] {
  return Array.from({ length: count }, (_, index) => {
    const member: { [name in MemberName]?: T } = {};
    for (const name of MEMBER_NAMES) {
      const tensor = inputs[inputName(name, index)];
      if (tensor !== undefined) member[name] = tensor;
    }
    return member;
  });
}
