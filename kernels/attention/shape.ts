import type { Attrs } from '../runtime/op.js';

/** The sizes of one attention call, as the kernels take them. */
export interface AttentionShape {
  readonly batch: number;
  readonly queryLength: number;
  readonly keyLength: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** Factor on q·k. */
  readonly scale: number;
  /** Keys a query sees at most, itself included; keyLength where there is no window. */
  readonly window: number;
  /** Dimensions of a head that are rotated (even); 0 where there is no rotation. */
  readonly rotaryDim: number;
  /** Rows of the rotary tables; positions past the last take the last. */
  readonly maxPosition: number;
  /** 1 when segment starts are given, else 0. */
  readonly hasStarts: number;
}

export function shapeToAttrs(shape: AttentionShape): Attrs {
  return { ...shape };
}

export function shapeFromAttrs(attrs: Attrs): AttentionShape {
  return attrs as unknown as AttentionShape;
}
