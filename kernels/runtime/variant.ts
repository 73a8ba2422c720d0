import { chooseMatrixUnit, matrixUnitOf, type MatrixAdapter, type MatrixUnit } from './webgpu/matrix-unit.js';

/** All that is read of tfjs's WebGPU backend here. */
interface WithDevice {
  readonly device: VariantDevice;
}

/** What the choice depends on. */
export interface VariantDevice {
  readonly features: { has(feature: string): boolean };
  readonly adapterInfo?: VariantAdapter;
}

export interface VariantAdapter extends MatrixAdapter {
  readonly isFallbackAdapter?: boolean;
}

/** Which WebGPU code kernels run: see `KernelVariant`. */
export const KERNEL_VARIANTS = ['auto', 'f32', 'f16', 'subgroups', 'subgroup-matrix', 'lanes'] as const;

/**
 * `f32` needs no feature and sums float32 products; `f16` keeps the tiles of products, float and 4-bit weights alike,
 * in workgroup memory as float16 (`shader-f16`) and still sums in float32; `subgroups` sums within subgroups
 * (`subgroups`) before it goes through memory: products with few rows or columns, norms, losses. `subgroup-matrix`
 * makes products of linear layers and of large matrices with what GPUs have for that (tensor cores;
 * `chromium-experimental-subgroup-matrix`): float16 factors, rows of A brought to float16's range first, sums in
 * float32, all else as in `f32`. `lanes` is float32 for devices with no GPU behind them: products and attention by
 * single subgroups, which must have one size there, without workgroup memory and barriers. `auto` is `lanes` on such a
 * device and else `f32`: the numbers of every device agree to float32 rounding, and nothing depends on what a driver
 * offers.
 */
export type KernelVariant = (typeof KERNEL_VARIANTS)[number];
type Named = Exclude<KernelVariant, 'auto'>;

export interface VariantTraits {
  /** The shader feature that must be there. */
  readonly feature: string | undefined;
  /** Name of the `enable` directive. */
  readonly enable: string | undefined;
  readonly halfTiles: boolean;
  readonly subgroups: boolean;
  readonly lanes: boolean;
  readonly matrices: boolean;
}

const PLAIN: VariantTraits = {
  feature: undefined,
  enable: undefined,
  halfTiles: false,
  subgroups: false,
  lanes: false,
  matrices: false,
};
const TRAITS: Readonly<Record<Named, VariantTraits>> = {
  f32: PLAIN,
  f16: { ...PLAIN, feature: 'shader-f16', enable: 'f16', halfTiles: true },
  subgroups: { ...PLAIN, feature: 'subgroups', enable: 'subgroups', subgroups: true },
  'subgroup-matrix': { ...PLAIN, matrices: true },
  lanes: { ...PLAIN, feature: 'subgroups', enable: 'subgroups', subgroups: true, lanes: true },
};

let forced: KernelVariant = 'auto';

/** Forces a variant from now on; `auto` leaves the choice to `chooseVariant`. */
export function setKernelVariant(variant: KernelVariant): void {
  forced = variant;
}

/** The variant that is forced, or `auto`. */
export function kernelVariant(): KernelVariant {
  return forced;
}

/** What runs on a device with these features, and on an adapter that says this of itself. */
export function availableVariants(features: { has(feature: string): boolean }, adapter: VariantAdapter = {}): Named[] {
  return (Object.keys(TRAITS) as Named[]).filter((name) => {
    const { feature, lanes, matrices } = TRAITS[name];
    if (matrices) return !('missing' in chooseMatrixUnit(features, adapter));
    return (feature === undefined || features.has(feature)) && (!lanes || laneCount(adapter) > 0);
  });
}

/** Invocations of every subgroup; 0 where that is not known before a shader runs. */
export function laneCount({ subgroupMinSize = 0, subgroupMaxSize = 0 }: VariantAdapter): number {
  return subgroupMinSize === subgroupMaxSize && subgroupMinSize >= 4 ? subgroupMinSize : 0;
}

/** What runs on this backend. */
export function backendVariants(backend: unknown): Named[] {
  const { device } = backend as WithDevice;
  const matrices = 'missing' in matrixUnitOf(device) ? [] : (['subgroup-matrix'] as const);
  return [
    ...availableVariants(device.features, device.adapterInfo).filter((name) => !TRAITS[name].matrices),
    ...matrices,
  ];
}

export interface ChosenVariant {
  readonly name: Named;
  readonly traits: VariantTraits;
  readonly lanes: number;
  /** Where products are made of it. */
  readonly unit: MatrixUnit | undefined;
}

/**
 * The variant that kernels run on this backend.
 *
 * @throws Error when a forced variant needs a feature that the device was opened without
 */
export function chooseVariant(backend: unknown): ChosenVariant {
  return deviceVariant((backend as WithDevice).device);
}

function deviceVariant(device: VariantDevice): ChosenVariant {
  const { features, adapterInfo = {} } = device;
  const lanes = laneCount(adapterInfo);
  const own = adapterInfo.isFallbackAdapter === true && features.has('subgroups') && lanes > 0 ? 'lanes' : 'f32';
  const name = forced === 'auto' ? own : forced;
  const traits = TRAITS[name];
  if (traits.feature !== undefined && !features.has(traits.feature)) {
    throw new Error(
      `kernel variant '${name}' needs the WebGPU feature '${traits.feature}', which this device was opened without`,
    );
  }
  if (traits.lanes && lanes === 0)
    throw new Error(`kernel variant '${name}' needs subgroups of one size, which this device does not promise`);
  const unit = traits.matrices ? matrixUnitOf(device) : undefined;
  if (unit !== undefined && 'missing' in unit)
    throw new Error(`kernel variant '${name}' cannot run here: ${unit.missing}`);
  return { name, traits, lanes, unit };
}

/** True where workgroups are summed up within subgroups first on this device. */
export function sumsBySubgroups(device: VariantDevice): boolean {
  return deviceVariant(device).traits.subgroups;
}

/**
 * WGSL with the sums over a workgroup that the variant in force takes. Lines that end in `// #subgroups` belong to that
 * variant, those that end in `// #memory` to all others.
 */
export function withVariantSums(code: string, subgroups: boolean): string {
  if (!code.includes('// #memory\n')) return code;
  const text = code.replace(subgroups ? /^.* \/\/ #memory\n/gm : /^.* \/\/ #subgroups\n/gm, '');
  return subgroups ? `enable subgroups;\n${text}` : text;
}
