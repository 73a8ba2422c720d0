import * as tf from '@tensorflow/tfjs-core';
import { availableVariants, chooseMatrixUnit, handWrittenOps, type SubgroupMatrixConfig } from '../../kernels/index.js';
import { BACKEND_OF, DEVICE_NAMES, type DeviceChoice, type DeviceName, type Host } from './device.js';
import { findAdapter, openDevice } from './open.js';
import { limitsOf, subgroupMatrices } from './webgpu.js';
import { DeviceError } from '../errors.js';

/** What one device would give. */
export interface DeviceReport {
  readonly device: DeviceName;
  readonly available: boolean;
  /** Adapter and driver, or what computes otherwise. */
  readonly description?: string;
  readonly software?: boolean;
  readonly features?: readonly string[];
  /** Of a WebGPU adapter. */
  readonly limits?: Readonly<Record<string, number>>;
  /** What `--variant` of a bench and LOWRANK_VARIANT may name. */
  readonly variants?: readonly string[];
  /** Products that a subgroup does as a whole, where the adapter has them. */
  readonly subgroupMatrices?: readonly SubgroupMatrixConfig[];
  /** Which of them variant `subgroup-matrix` is made of, or why there is no such variant. */
  readonly matrixUnit?: string;
  /** Invocations of a subgroup, least and most. */
  readonly subgroupSizes?: readonly [number, number];
  /** Ops that have a kernel of their own there; the others run on TensorFlow.js' own ops. */
  readonly handWritten: readonly string[];
  /** What would make it faster here. */
  readonly faster?: string;
  /** Why it is not available. */
  readonly missing?: string;
  /** The command that would make it available. */
  readonly fix?: string;
}

export interface DoctorReport {
  readonly devices: readonly DeviceReport[];
  /** What `auto` takes, and why. */
  readonly auto: { readonly device: DeviceName; readonly reason: string };
}

/** Opens every device in turn and lets it compute something small. */
export async function examine(host: Host): Promise<DoctorReport> {
  const devices: DeviceReport[] = [];
  for (const name of DEVICE_NAMES) devices.push(await examineDevice(name, host));
  const { name: device, reason } = await withDevice('auto', host, (opened) => Promise.resolve(opened));
  return { devices, auto: { device, reason } };
}

async function examineDevice(device: DeviceName, host: Host): Promise<DeviceReport> {
  const handWritten = handWrittenOps(BACKEND_OF[device]);
  const adapter = device === 'webgpu' ? await adapterReport(host) : undefined;
  try {
    const { description, software, features } = await withDevice(device, host, async (opened) => {
      await opened.guard(compute());
      return opened;
    });
    const faster = host.faster?.(device);
    return {
      device,
      available: true,
      description,
      software,
      features,
      ...adapter,
      ...(faster === undefined ? {} : { faster }),
      handWritten,
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const fix = fixOf(device, message);
    // Its name is in front of this already, and the command behind it.
    const missing = message.replace(`${device}: `, '').replace(` (${fix ?? ''})`, '');
    return { device, available: false, handWritten, missing, ...(fix === undefined ? {} : { fix }) };
  }
}

async function withDevice<T>(
  choice: DeviceChoice,
  host: Host,
  use: (device: Awaited<ReturnType<typeof openDevice>>) => Promise<T>,
): Promise<T> {
  const device = await openDevice(choice, host);
  try {
    return await use(device);
  } finally {
    await device.close();
  }
}

async function adapterReport(
  host: Host,
): Promise<
  Pick<DeviceReport, 'limits' | 'variants' | 'subgroupMatrices' | 'matrixUnit' | 'subgroupSizes'> | undefined
> {
  const found = await findAdapter(host);
  if (!('adapter' in found)) return undefined;
  const { adapter } = found;
  const unit = chooseMatrixUnit(adapter.features, adapter.info);
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = adapter.info;
  return {
    limits: limitsOf(adapter),
    variants: availableVariants(adapter.features, adapter.info),
    subgroupMatrices: subgroupMatrices(adapter),
    matrixUnit:
      'missing' in unit
        ? `none: ${unit.missing}`
        : `${unit.element} ${unit.m}×${unit.n}×${unit.k}, subgroups of ${unit.lanes}`,
    subgroupSizes: [subgroupMinSize, subgroupMaxSize],
  };
}

/** [1 2; 3 4]·[1 2; 3 4] */
async function compute(): Promise<void> {
  const product = tf.tidy(() => {
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    return tf.matMul(x, x);
  });
  const values = await product.data();
  product.dispose();
  if (values.join() !== '7,10,15,22')
    throw new DeviceError(`computes wrongly: a product of [1, 2, 3, 4] with itself came out as [${values.join(', ')}]`);
}

function fixOf(device: DeviceName, missing: string): string | undefined {
  switch (device) {
    case 'webgpu':
      if (/Dawn does not load|webgpu is not installed/.test(missing)) return 'npm install webgpu';
      if (/no adapter/.test(missing))
        return process.platform === 'linux' ? WEBGPU_ON_LINUX : 'install the driver of the GPU';
      return undefined;
    case 'node':
    case 'node-gpu': {
      const specifier = device === 'node' ? '@tensorflow/tfjs-node' : '@tensorflow/tfjs-node-gpu';
      return /not installed/.test(missing)
        ? `npm install ${specifier}@4.22.0`
        : `npm rebuild ${specifier} --build-addon-from-source`;
    }
    case 'wasm':
    case 'cpu':
      return undefined;
  }
}

/** WebGPU stands on Vulkan there. */
const WEBGPU_ON_LINUX =
  'install the Vulkan driver of the GPU (for Intel and AMD, or to emulate one in software: apt-get install mesa-vulkan-drivers)';
