import type { TensorInfo } from '@tensorflow/tfjs-core';
import { rowStretches, splitTensor, type RowPart } from '../../runtime/webgpu/row-blocks.js';
import type { GpuParams } from '../../runtime/webgpu/dispatch.js';

/** The right-hand matrix of a product: the WGSL that reads it, what that binds (from binding 2 on), its constants. */
export interface GpuOperand {
  /** Stands for the code in pipeline names. */
  readonly name: string;
  /** Empty for a float matrix. */
  readonly code: string;
  readonly tensors: readonly TensorInfo[];
  readonly constants: Readonly<Record<string, number>>;
  /** What decode.wgsl reads of `params`: offset, zero, nested, rounding. Zeros for a float matrix. */
  readonly params: GpuParams;
  /**
   * A new float matrix with what the code stands for; absent for a float matrix, and where that would be too large for
   * a binding.
   */
  readonly decode?: (() => TensorInfo) | undefined;
  /** Where the matrix is too large for one binding: stretches of its rows. What is above then describes nothing. */
  readonly parts?: readonly RowPart<GpuOperand>[];
}

/** A float matrix as right-hand operand. */
export function denseOperand(b: TensorInfo): GpuOperand {
  return {
    name: 'dense',
    code: '',
    tensors: [b],
    constants: {},
    params: [
      ['f', 0],
      ['u', 0],
      ['u', 0],
      ['u', 0],
    ],
  };
}

/** A float matrix, which may be a weight larger than a binding, as right-hand operand. */
export function weightOperand(backend: unknown, b: TensorInfo): GpuOperand {
  const [rows, cols] = b.shape as [number, number];
  const whole = denseOperand(b);
  const stretches = rowStretches(backend, rows, 4 * cols);
  if (stretches === undefined) return whole;
  const tensors = splitTensor(
    backend,
    b,
    stretches.map(({ first }) => first * cols),
  );
  return {
    ...whole,
    tensors: [],
    parts: stretches.map((stretch, i) => ({ ...stretch, part: { ...whole, tensors: [tensors[i] as TensorInfo] } })),
  };
}
