import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-wasm';
import { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { create, globals } from 'webgpu';
import { afterAll, beforeAll, describe } from 'vitest';
import { describeMatrixAdapter } from '../../kernels/runtime/webgpu/matrix-unit.js';
import { setKernelVariant } from '../../kernels/index.js';
import type { Device } from '../../src/device/device.js';
import { nodeHost } from '../../src/device/node.js';
import { openWasm } from '../../src/device/wasm.js';

/**
 * `webgpu` runs what kernels choose for the adapter; `tiles` is WebGPU too, with the code that they choose for hardware
 * (variant `f32`).
 */
export type TestBackend = 'cpu' | 'wasm' | 'webgpu' | 'tiles';

Object.assign(globalThis, globals);
// Kept to the end: what Dawn leaves in the event loop reads it.
const gpu = create(['enable-dawn-features=allow_unsafe_apis']) as GPU;
const adapter = await openAdapter();

async function openAdapter(): Promise<GPUAdapter | null> {
  if (globalThis.navigator === undefined)
    Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
  return gpu.requestAdapter();
}

async function openWebGpu(): Promise<void> {
  if (tf.findBackendFactory('webgpu') === null && adapter !== null) {
    const limits: Record<string, number> = {};
    for (const key of [
      'maxStorageBufferBindingSize',
      'maxBufferSize',
      'maxComputeWorkgroupStorageSize',
      'maxComputeInvocationsPerWorkgroup',
      'maxComputeWorkgroupSizeX',
    ] as const)
      limits[key] = adapter.limits[key];
    const device = await adapter.requestDevice({
      requiredFeatures: [...adapter.features] as GPUFeatureName[],
      requiredLimits: limits,
    });
    describeMatrixAdapter(device, adapter.info);
    device.addEventListener('uncapturederror', (event) => {
      console.error('WebGPU:', (event as GPUUncapturedErrorEvent).error.message);
    });
    tf.env().set('WEBGPU_CPU_FORWARD', false);
    tf.registerBackend('webgpu', () => new WebGPUBackend(device, adapter.info), 0);
  }
  await tf.setBackend('webgpu');
}

/** LOWRANK_TEST_BACKENDS=wasm,cpu leaves the others out, for a quick look at one. */
const CHOSEN = process.env['LOWRANK_TEST_BACKENDS']?.split(',');

/**
 * Runs a suite once a backend. Without a WebGPU adapter its suite is reported as skipped, unless LOWRANK_REQUIRE_WEBGPU
 * is set: then it fails.
 */
export function describeBackends(
  name: string,
  backends: readonly TestBackend[],
  body: (backend: Exclude<TestBackend, 'tiles'>, target: TestBackend) => void,
): void {
  for (const target of backends) {
    const backend = target === 'tiles' ? 'webgpu' : target;
    const missing = backend === 'webgpu' && adapter === null && process.env['LOWRANK_REQUIRE_WEBGPU'] !== '1';
    // On hardware that is what `webgpu` has run.
    const again =
      target === 'tiles' &&
      backends.includes('webgpu') &&
      adapter !== null &&
      (adapter.info as { isFallbackAdapter?: boolean }).isFallbackAdapter !== true;
    if (again) continue;
    const left = CHOSEN !== undefined && !CHOSEN.includes(target);
    describe.skipIf(missing || left)(`${name} on ${target === 'tiles' ? 'webgpu in tiles' : target}`, () => {
      let device: Device | undefined;
      beforeAll(async () => {
        if (backend === 'webgpu') {
          if (adapter === null) throw new Error('no WebGPU adapter, and LOWRANK_REQUIRE_WEBGPU is set');
          await openWebGpu();
          setKernelVariant(target === 'tiles' ? 'f32' : 'auto');
        } else if (backend === 'wasm') {
          // Two threads on any machine: results must not depend on their number, and a race shows with two.
          device = await openWasm('asked for by name', nodeHost, { threads: 2 });
          if (!device.features.includes('threads')) throw new Error(device.description);
        } else {
          await tf.setBackend(backend);
        }
        await tf.ready();
      });
      afterAll(async () => {
        await device?.close();
        setKernelVariant('auto');
      });
      body(backend, target);
    });
  }
}
