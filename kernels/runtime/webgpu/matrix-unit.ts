/**
 * A product that an adapter can do as a whole in a subgroup: A `[M, K]` · B `[K, N]` of one type, the sums in another.
 */
export interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/**
 * What an adapter says of itself that decides whether its subgroups' matrices (tensor cores and their like) can be
 * used.
 */
export interface MatrixAdapter {
  readonly subgroupMatrixConfigs?: Iterable<SubgroupMatrixConfig>;
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
}

/** The product that kernels make all others of, with sums in float32. */
export interface MatrixUnit {
  /** Type of the factors. */
  readonly element: 'f16' | 'f32';
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Invocations of a subgroup. */
  readonly lanes: number;
  /** Shaders must ask for subgroups of this size: the device has others too. */
  readonly pinned: boolean;
  /**
   * No matrices of subgroups: every invocation does the product by itself, to try the index arithmetic on any device.
   */
  readonly emulated: boolean;
}

/** WebGPU feature of subgroup matrices. */
export const MATRIX_FEATURE = 'chromium-experimental-subgroup-matrix';

/** Where a device has subgroups of several sizes. */
const USUAL_LANES = 32;

/**
 * The unit to use of those that an adapter reports, or why there is none: float16 before float32 factors, the largest
 * one of these, and always sums in float32, since sums of thousands of float16 products are worth nothing for training.
 */
export function chooseMatrixUnit(
  features: { has(feature: string): boolean },
  adapter: MatrixAdapter,
): MatrixUnit | { readonly missing: string } {
  if (!features.has(MATRIX_FEATURE)) return { missing: `the WebGPU feature '${MATRIX_FEATURE}' is not there` };
  const { subgroupMatrixConfigs = [], subgroupMinSize = 0, subgroupMaxSize = 0 } = adapter;
  const one = subgroupMinSize === subgroupMaxSize;
  if (subgroupMaxSize < 4) return { missing: 'the device does not say how large its subgroups are' };
  if (!one && !features.has('subgroup-size-control'))
    return {
      missing: `subgroups have ${subgroupMinSize} to ${subgroupMaxSize} invocations, and 'subgroup-size-control' is not there`,
    };
  const lanes = one ? subgroupMaxSize : Math.max(subgroupMinSize, Math.min(USUAL_LANES, subgroupMaxSize));
  const all = [...subgroupMatrixConfigs];
  const usable = all.filter(
    (config) =>
      usableElement(config, features) !== undefined &&
      [config.M, config.N, config.K].every((size) => [8, 16, 32].includes(size)),
  );
  const rank = ({ componentType, M, N, K }: SubgroupMatrixConfig): number =>
    M * N * K + (componentType === 'f16' ? 1e6 : 0);
  const best = usable.sort((a, b) => rank(b) - rank(a))[0];
  if (best === undefined) {
    const listed =
      all.map((c) => `${c.componentType} into ${c.resultComponentType} ${c.M}×${c.N}×${c.K}`).join(', ') || 'none';
    return {
      missing: `no subgroup matrices of f16 or f32 with sums in f32, in sizes of 8, 16 or 32 (reported: ${listed}${features.has('shader-f16') ? '' : '; no shader-f16'})`,
    };
  }
  return {
    element: best.componentType as MatrixUnit['element'],
    m: best.M,
    n: best.N,
    k: best.K,
    lanes,
    pinned: !one,
    emulated: false,
  };
}

function usableElement(
  { componentType, resultComponentType }: SubgroupMatrixConfig,
  features: { has(feature: string): boolean },
): MatrixUnit['element'] | undefined {
  if (resultComponentType !== 'f32') return undefined;
  if (componentType === 'f32') return 'f32';
  return componentType === 'f16' && features.has('shader-f16') ? 'f16' : undefined;
}

/** By device: a device's own `adapterInfo` may lack the list that the adapter has. */
const adapters = new WeakMap<object, MatrixAdapter>();
let emulated: MatrixUnit | undefined;

/** Tells what the adapter of a device says of itself. */
export function describeMatrixAdapter(device: object, adapter: MatrixAdapter): void {
  adapters.set(device, adapter);
}

/** Lets products run as on a device with this unit, without its matrices, for tests; undefined ends that. */
export function emulateMatrixUnit(unit: Omit<MatrixUnit, 'emulated' | 'pinned'> | undefined): void {
  emulated = unit === undefined ? undefined : { ...unit, pinned: false, emulated: true };
}

/** The unit of an opened device, or why it has none. */
export function matrixUnitOf(device: {
  readonly features: { has(feature: string): boolean };
}): MatrixUnit | { readonly missing: string } {
  return emulated ?? chooseMatrixUnit(device.features, adapters.get(device) ?? {});
}
