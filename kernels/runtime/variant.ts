/** All that is read of tfjs's WebGPU backend here. */
interface WithDevice {
  readonly device: GPUDevice;
}

/** Which WebGPU code kernels run: see `KernelVariant`. */
export const KERNEL_VARIANTS = ['auto', 'f32', 'f16', 'subgroups'] as const;

/**
 * `f32` needs no feature and sums float32 products; `f16` keeps the tiles of products, float and 4-bit weights alike, in workgroup memory
 * as float16 (`shader-f16`) and still sums in float32; `subgroups` sums within subgroups (`subgroups`) before it goes through memory:
 * products with few rows or columns, norms, losses. `auto` is `f32`: the numbers of every device agree to float32 rounding, and
 * nothing depends on what a driver offers.
 */
export type KernelVariant = (typeof KERNEL_VARIANTS)[number];

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

/** What runs on a device with these features. */
export function availableVariants(features: { has(feature: string): boolean }): Exclude<KernelVariant, 'auto'>[] {
  return (Object.keys(TRAITS) as Exclude<KernelVariant, 'auto'>[]).filter((name) => {
    const { feature } = TRAITS[name];
    return feature === undefined || features.has(feature);
  });
}

/** What runs on this backend. */
export function backendVariants(backend: unknown): Exclude<KernelVariant, 'auto'>[] {
  return availableVariants((backend as WithDevice).device.features);
}

/**
 * The variant that kernels run on this backend.
 *
 * @throws Error when a forced variant needs a feature that the device was opened without
 */
export function chooseVariant(backend: unknown): { name: Exclude<KernelVariant, 'auto'>; traits: VariantTraits } {
  const name = forced === 'auto' ? 'f32' : forced;
  const traits = TRAITS[name];
  if (traits.feature !== undefined && !(backend as WithDevice).device.features.has(traits.feature)) {
    throw new Error(`kernel variant '${name}' needs the WebGPU feature '${traits.feature}', which this device was opened without`);
  }
  return { name, traits };
}

/**
 * WGSL with the sums over a workgroup that the variant in force takes. Lines that end in `// #subgroups` belong to that variant, those
 * that end in `// #memory` to all others.
 */
export function withVariantSums(code: string): string {
  if (!code.includes('// #memory\n')) return code;
  const { subgroups } = TRAITS[forced === 'auto' ? 'f32' : forced];
  const text = code.replace(subgroups ? /^.* \/\/ #memory\n/gm : /^.* \/\/ #subgroups\n/gm, '');
  return subgroups ? `enable subgroups;\n${text}` : text;
}
