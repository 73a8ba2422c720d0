import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import {
  availableVariants,
  chooseMatrixUnit,
  KERNEL_VARIANTS,
  setKernelVariant,
  setReplay,
} from '../../kernels/index.js';
import { DeviceError } from '../errors.js';
import { BACKEND_OF, type Device, type DeviceChoice, type DeviceOptions, type Host } from './device.js';
import { openWasm } from './wasm.js';
import { describeAdapter, openWebGpu, requestAdapter } from './webgpu.js';

/**
 * Opens the device that was asked for. `auto` takes the fastest that is there: a hardware WebGPU adapter, else
 * TensorFlow with CUDA where it is installed, else WASM, whose own kernels take a half to a quarter of the time of
 * TensorFlow on the CPU, which is what remains where WASM does not open. A GPU emulated in software is only taken when
 * it is asked for by name.
 * @throws DeviceError saying why the device cannot be had.
 */
export async function openDevice(choice: DeviceChoice, host: Host, options: DeviceOptions = {}): Promise<Device> {
  withoutGreeting(tf.findBackend('cpu'));
  switch (choice) {
    case 'auto':
      return openBest(host, options);
    case 'webgpu': {
      const found = await findAdapter(host);
      if ('adapter' in found) return openAdapter(found.adapter, 'asked for by name', host, options);
      host.release?.();
      throw new DeviceError(`no WebGPU device: ${found.missing}`);
    }
    case 'wasm':
      return openWasm('asked for by name', host, options);
    case 'node':
    case 'node-gpu':
      return openTensorflow(choice, host, 'asked for by name');
    case 'cpu':
      await tf.setBackend('cpu');
      return plainDevice('cpu', 'JavaScript on the CPU (slow; for comparing numbers)', 'asked for by name');
  }
}

async function openBest(host: Host, options: DeviceOptions): Promise<Device> {
  const passedOver: string[] = [];
  const vain = host.noGpu?.();
  const found = vain === undefined ? await findAdapter(host) : { missing: vain };
  if ('adapter' in found) {
    const { description, software } = describeAdapter(found.adapter);
    if (!software) return openAdapter(found.adapter, 'a hardware WebGPU adapter is there', host, options);
    passedOver.push(`the only WebGPU adapter is software (${description})`);
  } else {
    passedOver.push(`no WebGPU (${found.missing})`);
  }
  host.release?.();
  if (host.tensorflow !== undefined) {
    try {
      return await openTensorflow('node-gpu', host, passedOver.join('; '));
    } catch (error) {
      const { message } = error as Error;
      passedOver.push(message.includes('is not installed') ? 'node-gpu is not installed' : message);
    }
  }
  try {
    return await openWasm(passedOver.join('; '), host, options);
  } catch (error) {
    if (host.tensorflow === undefined) throw error;
    passedOver.push((error as Error).message);
    return openTensorflow('node', host, passedOver.join('; ')).catch(() => {
      throw error;
    });
  }
}

/** tfjs advertises tfjs-node when its CPU backend is first used in Node. */
function withoutGreeting(backend: unknown): void {
  ((backend as { firstUse?: boolean } | null) ?? {}).firstUse = false;
}

/** The host's adapter, or why it has none. */
export async function findAdapter(
  host: Host,
): Promise<{ readonly adapter: GPUAdapter } | { readonly missing: string }> {
  const gpu = await host.gpu();
  if ('missing' in gpu) return gpu;
  const adapter = await requestAdapter(gpu);
  return adapter === null ? { missing: 'no adapter: no GPU driver that WebGPU can use' } : { adapter };
}

async function openTensorflow(name: 'node' | 'node-gpu', host: Host, reason: string): Promise<Device> {
  if (host.tensorflow === undefined) throw new DeviceError(`${name} needs Node`);
  try {
    await host.tensorflow(name);
  } catch (error) {
    throw new DeviceError(`${name}: ${(error as Error).message.split('\n')[0] ?? ''}`, { cause: error });
  }
  await tf.setBackend('tensorflow');
  return plainDevice(name, name === 'node-gpu' ? 'TensorFlow with CUDA' : 'TensorFlow on the CPU', reason);
}

function plainDevice(name: 'node' | 'node-gpu' | 'cpu', description: string, reason: string): Device {
  return {
    name,
    backend: BACKEND_OF[name],
    description,
    reason,
    software: false,
    features: [],
    guard: (work) => work,
    close: () => Promise.resolve(),
  };
}

/** Opens a device whose host is let go of when it is closed, or at once when it does not open. */
async function openAdapter(adapter: GPUAdapter, reason: string, host: Host, options: DeviceOptions): Promise<Device> {
  try {
    setReplay(options.replay ?? host.replay?.() ?? true);
    chooseKernelVariant(options.variant ?? host.kernelVariant?.() ?? 'auto', adapter);
    const device = await openWebGpu(adapter, reason);
    return {
      ...device,
      async close() {
        await device.close();
        host.release?.();
      },
    };
  } catch (error) {
    host.release?.();
    throw error;
  }
}

/** @throws DeviceError when there is no such variant, or the adapter lacks what it needs. */
function chooseKernelVariant(wanted: string, adapter: GPUAdapter): void {
  const variant = KERNEL_VARIANTS.find((name) => name === wanted);
  if (variant === undefined)
    throw new DeviceError(
      `'${wanted}' is no variant of the WebGPU kernels (LOWRANK_VARIANT): there are ${KERNEL_VARIANTS.join(', ')}`,
    );
  const available = availableVariants(adapter.features, adapter.info);
  if (variant !== 'auto' && !available.includes(variant)) {
    const unit = chooseMatrixUnit(adapter.features, adapter.info);
    const why = variant === 'subgroup-matrix' && 'missing' in unit ? `${unit.missing}; ` : '';
    throw new DeviceError(
      `the WebGPU kernels cannot run as '${variant}' here: ${why}this adapter has what ${available.join(', ')} need`,
    );
  }
  setKernelVariant(variant);
}
