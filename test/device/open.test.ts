import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { makeWasmOutput } from '../../kernels/tfjs/wasm.js';
import { gpuBackend } from '../../kernels/tfjs/webgpu.js';
import { availableVariants, KERNEL_VARIANTS, kernelVariant, setKernelVariant } from '../../kernels/index.js';
import type { Device, Host } from '../../src/device/device.js';
import { hasGpuFile, nodeHost } from '../../src/device/node.js';
import { findAdapter, openDevice } from '../../src/device/open.js';
import { describeAdapter } from '../../src/device/webgpu.js';
import { DeviceError } from '../../src/errors.js';

const found = await findAdapter(nodeHost);
const adapter = 'adapter' in found ? found.adapter : undefined;
nodeHost.release?.();
const adapterIsSoftware = adapter !== undefined && describeAdapter(adapter).software;

const NO_GPU: Host = { gpu: () => Promise.resolve({ missing: 'none in this test' }) };

let device: Device | undefined;

/** Opened for one test, and closed after it. */
async function open(...args: Parameters<typeof openDevice>): Promise<Device> {
  return (device = await openDevice(...args));
}

afterEach(async () => {
  await device?.close();
  device = undefined;
});

/** How a promise fails. */
async function failureOf(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => expect.unreachable('did not fail'),
    (error: unknown) => error as Error,
  );
}

const FOREVER = new Promise<never>(() => undefined);

/** The device under tfjs's backend. */
function gpuDevice(): GPUDevice {
  return gpuBackend().device;
}

describe.skipIf(adapter === undefined)('variants of the WebGPU kernels', () => {
  afterEach(() => {
    delete process.env['LOWRANK_VARIANT'];
    setKernelVariant('auto');
  });

  it('are chosen by an option, else by LOWRANK_VARIANT', async () => {
    const available = availableVariants((adapter as GPUAdapter).features, (adapter as GPUAdapter).info);
    for (const variant of available) {
      process.env['LOWRANK_VARIANT'] = variant;
      await (await openDevice('webgpu', nodeHost)).close();
      expect(kernelVariant()).toBe(variant);
      await (await openDevice('webgpu', nodeHost, { variant: 'auto' })).close();
      expect(kernelVariant()).toBe('auto');
    }
    for (const missing of KERNEL_VARIANTS.filter((name) => name !== 'auto' && !available.includes(name))) {
      await expect(openDevice('webgpu', nodeHost, { variant: missing })).rejects.toThrow(/cannot run as/);
    }
  });

  it('are refused where there is none of that name', async () => {
    process.env['LOWRANK_VARIANT'] = 'f64';
    const error = await failureOf(openDevice('webgpu', nodeHost));
    expect(error).toBeInstanceOf(DeviceError);
    expect(error.message).toBe(
      "'f64' is no variant of the WebGPU kernels (LOWRANK_VARIANT): there are auto, f32, f16, subgroups, subgroup-matrix, lanes",
    );
  });
});

describe('auto', () => {
  it('takes WASM where there is nothing else, and says what it passed over', async () => {
    const opened = await open('auto', NO_GPU);
    expect(opened).toMatchObject({ name: 'wasm', backend: 'wasm', reason: 'no WebGPU (none in this test)' });
    expect(tf.getBackend()).toBe('wasm');
  });

  it('tries TensorFlow with CUDA, but takes WASM before TensorFlow on the CPU', async () => {
    const asked: string[] = [];
    const refusals = { 'node-gpu': 'libcuda.so.1: cannot open shared object file', node: 'must not be asked for' };
    const tensorflow: Host['tensorflow'] = (name) => {
      asked.push(name);
      return Promise.reject(new Error(`${refusals[name]}\nand more`));
    };
    const opened = await open('auto', { ...NO_GPU, tensorflow });
    expect(asked).toEqual(['node-gpu']);
    expect(opened.name).toBe('wasm');
    expect(opened.reason).toBe('no WebGPU (none in this test); node-gpu: libcuda.so.1: cannot open shared object file');
  });

  it('tries TensorFlow on the CPU where WASM does not open, and says why WASM did not', async () => {
    const asked: string[] = [];
    const tensorflow: Host['tensorflow'] = (name) => {
      asked.push(name);
      return Promise.reject(new Error(`${name} is not installed`));
    };
    const wasmSimd = (): never => {
      throw new DeviceError('no WASM in this test');
    };
    expect((await failureOf(openDevice('auto', { ...NO_GPU, tensorflow, wasmSimd }))).message).toBe(
      'no WASM in this test',
    );
    expect(asked).toEqual(['node-gpu', 'node']);
  });

  it('does not search where there is no GPU file, and gives that as the reason', async () => {
    const gpu = vi.fn(() => NO_GPU.gpu());
    const host: Host = { gpu, noGpu: () => 'no GPU device file' };
    const opened = await open('auto', host);
    expect(opened).toMatchObject({ name: 'wasm', reason: 'no WebGPU (no GPU device file)' });
    expect(gpu).not.toHaveBeenCalled();
    expect((await failureOf(openDevice('webgpu', host))).message).toContain('none in this test');
    expect(gpu).toHaveBeenCalledOnce();
  });

  it.skipIf(!adapterIsSoftware)('passes over an adapter that is emulated in software', async () => {
    const release = vi.fn(() => nodeHost.release?.());
    const opened = await open('auto', { gpu: () => nodeHost.gpu(), release });
    expect(opened.name).toBe('wasm');
    expect(opened.reason).toMatch(/^the only WebGPU adapter is software \(.*(llvmpipe|swiftshader).*\)$/i);
    expect(release).toHaveBeenCalled();
  });

  it.skipIf(adapter === undefined)('takes a hardware adapter before anything else', async () => {
    const gpu = await nodeHost.gpu();
    if ('missing' in gpu) throw new Error(gpu.missing);
    // The adapter of this machine under another name: only the name tells an emulated one.
    const info = {
      vendor: 'acme',
      architecture: 'roadrunner',
      device: '',
      description: 'ACME 9000',
      subgroupMinSize: 4,
      subgroupMaxSize: 64,
    };
    const renamed = async (): Promise<GPUAdapter> => {
      const real = (await gpu.requestAdapter()) as GPUAdapter;
      return {
        info,
        features: real.features,
        limits: real.limits,
        requestDevice: (wanted: GPUDeviceDescriptor) => real.requestDevice(wanted),
      } as unknown as GPUAdapter;
    };
    const tensorflow = vi.fn(() => Promise.reject(new Error('not asked for')));
    const opened = await open('auto', {
      gpu: () => Promise.resolve({ requestAdapter: renamed } as unknown as GPU),
      tensorflow,
      release: () => nodeHost.release?.(),
    });
    expect(opened).toMatchObject({
      name: 'webgpu',
      software: false,
      description: 'acme, roadrunner, ACME 9000',
      reason: 'a hardware WebGPU adapter is there',
    });
    expect(tensorflow).not.toHaveBeenCalled();
  });
});

describe('a device asked for by name', () => {
  it('fails with what is missing, and lets go of the GPU', async () => {
    const release = vi.fn();
    const none = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU;
    const error = await failureOf(openDevice('webgpu', { gpu: () => Promise.resolve(none), release }));
    expect(error).toBeInstanceOf(DeviceError);
    expect(error.message).toMatch(/^no WebGPU device: no adapter/);
    expect(release).toHaveBeenCalledOnce();
    expect(await failureOf(openDevice('node', NO_GPU))).toMatchObject({
      name: 'DeviceError',
      message: 'node needs Node',
    });
    const host: Host = { ...NO_GPU, tensorflow: () => Promise.reject(new Error('x is not installed (npm install x)')) };
    expect(await failureOf(openDevice('node-gpu', host))).toMatchObject({
      name: 'DeviceError',
      message: 'node-gpu: x is not installed (npm install x)',
    });
  });

  it('may be plain JavaScript', async () => {
    expect(await open('cpu', NO_GPU)).toMatchObject({ name: 'cpu', backend: 'cpu', software: false });
    expect(tf.getBackend()).toBe('cpu');
  });
});

describe.skipIf(adapter === undefined)('webgpu', () => {
  it.skipIf(!adapterIsSoftware)('may be an adapter that is emulated in software', async () => {
    const opened = await open('webgpu', nodeHost);
    expect(opened).toMatchObject({ name: 'webgpu', backend: 'webgpu', software: true, reason: 'asked for by name' });
    expect(tf.getBackend()).toBe('webgpu');
    const product = tf.tidy(() => tf.matMul(tf.ones([3, 4]), tf.ones([4, 2])));
    expect([...(await opened.guard(product.data()))]).toEqual(Array.from({ length: 6 }, () => 4));
    product.dispose();
  });

  it('that is lost fails what waits for it', async () => {
    const opened = await open('webgpu', nodeHost);
    const failed = failureOf(opened.guard(FOREVER));
    gpuDevice().destroy();
    const error = await failed;
    expect(error).toBeInstanceOf(DeviceError);
    expect(error.message).toMatch(/^the GPU device was lost \(destroyed\)/);
    // And whatever comes later.
    expect(await failureOf(opened.guard(FOREVER))).toBe(error);
  });

  it('that is closed on purpose does not fail', async () => {
    const opened = await openDevice('webgpu', nodeHost);
    const { lost } = gpuDevice();
    await opened.close();
    // Whoever listens to the loss has heard of it once it has happened and all microtasks have run.
    expect((await lost).reason).toBe('destroyed');
    expect(await opened.guard(new Promise((done) => setImmediate(done, 'done')))).toBe('done');
    expect(tf.findBackendFactory('webgpu')).toBeNull();
  });

  it('that was used wrongly fails with what WebGPU says', async () => {
    const opened = await open('webgpu', nodeHost);
    const failed = failureOf(opened.guard(FOREVER));
    gpuDevice().createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE });
    const error = await failed;
    expect(error).toBeInstanceOf(DeviceError);
    expect(error.message).toMatch(/^WebGPU: .*usage/is);
    expect(error.message).not.toContain('memory (');
  });

  it.skipIf(!adapterIsSoftware)('that has no more memory says what needs less', async () => {
    const opened = await open('webgpu', nodeHost);
    const failed = failureOf(opened.guard(FOREVER));
    const { limits, queue } = gpuDevice();
    const buffers: GPUBuffer[] = [];
    let over = false;
    void failed.then(() => (over = true));
    for (let i = 0; i < 64 && !over; i++) {
      buffers.push(gpuDevice().createBuffer({ size: limits.maxBufferSize, usage: GPUBufferUsage.STORAGE }));
      await queue.onSubmittedWorkDone();
    }
    const error = await failed;
    for (const buffer of buffers) buffer.destroy();
    expect(error).toBeInstanceOf(DeviceError);
    expect(error.message).toMatch(/^WebGPU: the GPU has not enough memory \(.*\)\. Smaller batches/);
  });

  it('lets the process end once it is closed', async () => {
    const child = spawn(process.execPath, ['node_modules/vite-node/vite-node.mjs', 'test/support/open-webgpu.ts'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    expect(await new Promise((done) => child.on('close', done))).toBe(0);
    expect(stdout.trim()).toBe('7,10,15,22');
  }, 400_000);
});

describe('wasm', () => {
  it('fails with what needs less when its 32-bit heap is full', async () => {
    await open('wasm', NO_GPU);
    const tensors: tf.Tensor[] = [];
    const fill = (): void => {
      // 1 GiB each; the heap ends at 4 GiB at the latest. Nothing is written, so that no memory is taken.
      for (let i = 0; i < 5; i++)
        tensors.push(tf.engine().makeTensorFromTensorInfo(makeWasmOutput(tf.backend(), [2 ** 28], 'float32')));
    };
    expect(fill).toThrow(DeviceError);
    // The next one too.
    expect(fill).toThrow(/the WASM heap is full: \d+ more bytes do not fit/);
    tf.dispose(tensors);
    const y = tf.tidy(() => tf.add(tf.ones([3]), 1));
    expect([...(await y.data())]).toEqual([2, 2, 2]);
    y.dispose();
  });
});

describe('hasGpuFile', () => {
  it('knows the device files of Linux GPU drivers', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dev-'));
    try {
      expect(hasGpuFile(join(folder, 'missing'))).toBe(false);
      await mkdir(join(folder, 'dri'));
      for (const name of ['dri/card0', 'nvidia-caps', 'null', 'nvram']) await writeFile(join(folder, name), '');
      expect(hasGpuFile(folder)).toBe(false);
      for (const name of ['dri/renderD128', 'nvidia0', 'nvidiactl', 'dxg']) {
        await writeFile(join(folder, name), '');
        expect(hasGpuFile(folder), name).toBe(true);
        await rm(join(folder, name));
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it.runIf(process.platform === 'linux')('decides whether auto searches on Linux', () => {
    expect(nodeHost.noGpu?.()).toBe(hasGpuFile('/dev') ? undefined : 'no GPU device file');
  });
});
