import * as tf from '@tensorflow/tfjs-core';
import { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { describeMatrixAdapter, MATRIX_FEATURE, type SubgroupMatrixConfig } from '../../kernels/index.js';
import { DeviceError } from '../errors.js';
import { Failure, type Device } from './device.js';

/** Features that some kernel can use; each is taken where the adapter has it. */
const WANTED_FEATURES = ['shader-f16', 'subgroups', 'timestamp-query', 'subgroup-size-control', MATRIX_FEATURE];

/** Dispatches in one submit. tfjs's own 15 suits inference on a page that has to stay responsive. */
const DISPATCHES_PER_SUBMIT = 64;

/** An adapter's name as drivers give it, the model alone, and whether it is emulated on the CPU. */
export function describeAdapter(adapter: GPUAdapter): { description: string; label: string; software: boolean } {
  const { vendor, architecture, device, description } = adapter.info;
  const text = [...new Set([vendor, architecture, device, description].filter((part) => part !== ''))].join(', ');
  const fallback = (adapter.info as { isFallbackAdapter?: boolean }).isFallbackAdapter === true;
  // Mesa adds the versions of its compiler to the name.
  const label =
    device.replace(/-llvm-.*$/, '') ||
    (description.split(/[:(]/, 1)[0] as string).trim() ||
    [vendor, architecture].filter((part) => part !== '').join(' ');
  return {
    description: text || 'unnamed adapter',
    label: label || 'unnamed adapter',
    software: fallback || /llvmpipe|lavapipe|swiftshader|software|basic render/i.test(text),
  };
}

/** The fastest adapter, or null. */
export async function requestAdapter(gpu: GPU): Promise<GPUAdapter | null> {
  return gpu.requestAdapter({ powerPreference: 'high-performance' });
}

/** What `chromium-experimental-subgroup-matrix` offers on an adapter (tensor cores and their like); none without it. */
export function subgroupMatrices(adapter: GPUAdapter): SubgroupMatrixConfig[] {
  if (!adapter.features.has(MATRIX_FEATURE)) return [];
  const { subgroupMatrixConfigs } = adapter.info as { subgroupMatrixConfigs?: Iterable<SubgroupMatrixConfig> };
  return [...(subgroupMatrixConfigs ?? [])].map(({ componentType, resultComponentType, M, N, K }) => ({
    componentType,
    resultComponentType,
    M,
    N,
    K,
  }));
}

/** All limits of an adapter as plain numbers. */
export function limitsOf(adapter: GPUAdapter): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const key in adapter.limits) {
    const value: unknown = adapter.limits[key as keyof GPUSupportedLimits];
    if (typeof value === 'number') limits[key] = value;
  }
  return limits;
}

/**
 * Opens a device on the adapter with everything kernels can use and makes it tfjs's backend.
 * tfjs's own start-up asks for a fixed list of features without f16 and subgroups.
 */
export async function openWebGpu(adapter: GPUAdapter, reason: string): Promise<Device> {
  const features = WANTED_FEATURES.filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({
    requiredFeatures: features as GPUFeatureName[],
    requiredLimits: limitsOf(adapter),
  });
  describeMatrixAdapter(device, adapter.info);
  const failure = new Failure();
  let closing = false;
  void device.lost.then((info) => {
    if (!closing)
      failure.fail(
        new DeviceError(
          `the GPU device was lost (${info.reason || 'no reason given'}): ${info.message || 'no message'}`,
        ),
      );
  });
  device.addEventListener('uncapturederror', (event) => {
    const { error } = event as GPUUncapturedErrorEvent;
    const [first = ''] = error.message.split('\n');
    const full = `the GPU has not enough memory (${first}). Smaller batches, shorter rows (data.max_length) or load_in_4bit need less`;
    failure.fail(new DeviceError(`WebGPU: ${error.constructor.name === 'GPUOutOfMemoryError' ? full : error.message}`));
  });
  tf.env().set('WEBGPU_CPU_FORWARD', false);
  tf.env().set('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE', DISPATCHES_PER_SUBMIT);
  // tfjs registers a backend of its own where it finds navigator.gpu, and complains when there is none to remove.
  if (tf.findBackendFactory('webgpu') !== null) tf.removeBackend('webgpu');
  tf.registerBackend('webgpu', () => new WebGPUBackend(device, adapter.info));
  if (!(await tf.setBackend('webgpu'))) throw new DeviceError('tfjs did not accept the WebGPU device');
  return {
    name: 'webgpu',
    backend: 'webgpu',
    ...describeAdapter(adapter),
    reason,
    features,
    guard: (work) => failure.guard(work),
    async close() {
      closing = true;
      tf.removeBackend('webgpu');
      device.destroy();
      await device.lost;
    },
  };
}
