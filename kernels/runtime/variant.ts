import { gpuHas } from './webgpu.js';

/**
 * Which WebGPU code the products run: `f32` needs no feature and sums float32 products; `f16` keeps the tiles in workgroup memory as
 * float16 (`shader-f16`) and still sums in float32; `subgroups` reduces within subgroups (`subgroups`) instead of through memory.
 * `auto` is `f32`: the numbers of every device agree to float32 rounding, and nothing depends on what a driver offers.
 */
export type KernelVariant = 'auto' | 'f32' | 'f16' | 'subgroups';

export interface VariantTraits {
  /** The shader feature that must be there. */
  readonly feature: string | undefined;
  /** Name of the `enable` directive. */
  readonly enable: string | undefined;
  readonly halfTiles: boolean;
  readonly subgroups: boolean;
}

const TRAITS: Readonly<Record<Exclude<KernelVariant, 'auto'>, VariantTraits>> = {
  f32: { feature: undefined, enable: undefined, halfTiles: false, subgroups: false },
  f16: { feature: 'shader-f16', enable: 'f16', halfTiles: true, subgroups: false },
  subgroups: { feature: 'subgroups', enable: 'subgroups', halfTiles: false, subgroups: true },
};

let forced: KernelVariant = 'auto';

/** Forces a variant from now on; `auto` leaves the choice to `chooseVariant`. */
export function setKernelVariant(variant: KernelVariant): void {
  forced = variant;
}

export function kernelVariant(): KernelVariant {
  return forced;
}

/**
 * The variant that products run on this backend.
 *
 * @throws Error when a forced variant needs a feature that the device was opened without
 */
export function chooseVariant(backend: unknown): { name: Exclude<KernelVariant, 'auto'>; traits: VariantTraits } {
  const name = forced === 'auto' ? 'f32' : forced;
  const traits = TRAITS[name];
  if (traits.feature !== undefined && !gpuHas(backend, traits.feature)) {
    throw new Error(`kernel variant '${name}' needs the WebGPU feature '${traits.feature}', which this device was opened without`);
  }
  return { name, traits };
}
