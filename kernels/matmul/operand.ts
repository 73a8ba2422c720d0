import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { RowPart } from '../runtime/gpu-split.js';
import type { GpuParams } from '../runtime/webgpu.js';

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
