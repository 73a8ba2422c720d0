import * as tf from '@tensorflow/tfjs-core';
import { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { create, globals } from 'webgpu';
import { afterEach, describe, expect, it } from 'vitest';
import {
  describeMatrixAdapter,
  disposeWeight,
  linears,
  quantizedMatmul,
  setKernelVariant,
  uploadDense,
  uploadQuantized,
  valueAndGradients,
  type LinearMember,
} from '../../kernels/index.js';
import { matmul } from '../../kernels/matmul/kernel.js';
import { matrixUnitOf, type MatrixAdapter } from '../../kernels/runtime/webgpu/matrix-unit.js';
import { quantize4bit } from '../../src/quant/quantize.js';
import { limitsOf } from '../../src/device/webgpu.js';

// What GPUs report, as far as it is known from others' logs.
const ADAPTERS: readonly (readonly [string, MatrixAdapter])[] = [
  [
    'NVIDIA',
    {
      subgroupMinSize: 32,
      subgroupMaxSize: 32,
      subgroupMatrixConfigs: [
        config('f16', 'f16', 16, 16, 16),
        config('f16', 'f32', 16, 16, 16),
        config('f16', 'f32', 16, 8, 16),
      ],
    },
  ],
  [
    'Apple',
    {
      subgroupMinSize: 32,
      subgroupMaxSize: 32,
      subgroupMatrixConfigs: [config('f32', 'f32', 8, 8, 8), config('f16', 'f16', 8, 8, 8)],
    },
  ],
  ['Intel', { subgroupMinSize: 8, subgroupMaxSize: 32, subgroupMatrixConfigs: [config('f16', 'f32', 8, 16, 16)] }],
  ['AMD', { subgroupMinSize: 32, subgroupMaxSize: 64, subgroupMatrixConfigs: [config('f16', 'f32', 16, 16, 16)] }],
];

function config(
  componentType: string,
  resultComponentType: string,
  M: number,
  N: number,
  K: number,
): { componentType: string; resultComponentType: string; M: number; N: number; K: number } {
  return { componentType, resultComponentType, M, N, K };
}

/** Dawn's device without a GPU: it checks and compiles everything, has every feature, and computes nothing. */
async function nullDevice(): Promise<{ adapter: GPUAdapter; device: GPUDevice }> {
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error('Dawn has no null backend');
  const device = await adapter.requestDevice({
    requiredFeatures: [...adapter.features] as GPUFeatureName[],
    requiredLimits: {
      ...limitsOf(adapter),
      maxComputeWorkgroupStorageSize:
        49152 > adapter.limits.maxComputeWorkgroupStorageSize ? adapter.limits.maxComputeWorkgroupStorageSize : 49152,
    },
  });
  return { adapter, device };
}

Object.assign(globalThis, globals);
// Kept to the end: what Dawn leaves in the event loop reads it.
const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']) as GPU;
// tfjs's backend looks for it.
if (globalThis.navigator === undefined)
  Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });

describe.each(ADAPTERS)('shaders for the matrices of %s', (_name, info) => {
  afterEach(() => {
    setKernelVariant('auto');
    tf.removeBackend('webgpu');
  });
  it('are what Dawn takes', async () => {
    const { adapter, device } = await nullDevice();
    const errors: string[] = [];
    device.addEventListener('uncapturederror', (event) =>
      errors.push((event as GPUUncapturedErrorEvent).error.message),
    );
    describeMatrixAdapter(device, info);
    const unit = matrixUnitOf(device);
    expect(unit).not.toHaveProperty('missing');
    tf.env().set('WEBGPU_CPU_FORWARD', false);
    tf.registerBackend('webgpu', () => new WebGPUBackend(device, adapter.info), 0);
    expect(await tf.setBackend('webgpu')).toBe(true);
    setKernelVariant('subgroup-matrix');
    const values = new Float32Array(4160 * 1024).fill(0.01);
    const matrix = (rows: number, cols: number): tf.Tensor2D =>
      tf.tensor2d(values.subarray(0, rows * cols), [rows, cols]);
    // A large product, one of few tiles, and one with no multiple of anything.
    for (const [m, n, k] of [
      [4097, 1024, 96],
      [96, 80, 64],
      [33, 49, 71],
    ] as const) {
      for (const form of ['nt', 'nn'] as const)
        matmul(matrix(m, k), form === 'nt' ? matrix(n, k) : matrix(k, n), form).dispose();
      const packed = uploadQuantized(
        quantize4bit(values.subarray(0, n * k), [n, k], { quantType: 'nf4', doubleQuant: true }),
      );
      quantizedMatmul(matrix(m, k), packed).dispose();
      quantizedMatmul(matrix(m, n), packed, true).dispose();
      disposeWeight(packed);
    }
    const x = matrix(256, 64);
    const members = [64, 48].map((out, i): LinearMember => ({
      weight: uploadDense(values.slice(0, out * 64), [out, 64]),
      lora: { a: matrix(8, 64), b: matrix(out, 8), scale: 1 + i },
      bias: tf.tensor1d(values.subarray(0, out)),
    }));
    valueAndGradients(() => tf.addN(linears(x, members).map((y) => tf.sum(y))) as tf.Scalar, [x]);
    await device.queue.onSubmittedWorkDone();
    expect(errors).toEqual([]);
    device.destroy();
  }, 180_000);
});
