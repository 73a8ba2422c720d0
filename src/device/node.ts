import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Host } from './device.js';
import { fasterSimd, nodeSimd } from './node-simd.js';
import { withQuietStderr } from './node-stderr.js';

/**
 * Dawn toggles: subgroup matrices are experimental, and Dawn hides f16 on NVIDIA's Vulkan driver unless it is asked
 * for.
 */
const DAWN_OPTIONS = ['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia'];

const TENSORFLOW_PACKAGES = { node: '@tensorflow/tfjs-node', 'node-gpu': '@tensorflow/tfjs-node-gpu' } as const;

const WASM_BINARY = '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm';

/** Beyond this many, memory is what WASM kernels wait for. */
const MOST_DEFAULT_THREADS = 16;

/**
 * Kept until the process ends: what Dawn has put into the event loop reads the instance, and crashes when it was
 * collected by then.
 */
let gpu: GPU | undefined;

/**
 * Whether Linux shows a GPU: a render node (any driver of the kernel's), NVIDIA's own driver, or the Windows host's GPU
 * under WSL.
 */
export function hasGpuFile(folder: string): boolean {
  const render = join(folder, 'dri');
  const named = (path: string, pattern: RegExp): boolean =>
    existsSync(path) && readdirSync(path).some((name) => pattern.test(name));
  return named(render, /^renderD\d+$/) || named(folder, /^(nvidia\d+|nvidiactl|dxg)$/);
}

/** What tfjs-node 4.22 calls of Node's `util` that Node 23 no longer has. */
const FORMER_UTIL: Readonly<Record<string, (value: unknown) => boolean>> = {
  isNullOrUndefined: (value) => value === null || value === undefined,
  isArray: Array.isArray,
};

/**
 * Loads a TensorFlow package, which registers its backend, without the library's notes on how it was compiled and what
 * it looked for.
 */
export async function importTensorflow(specifier: string): Promise<void> {
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
  const util = createRequire(import.meta.url)('node:util') as Record<string, unknown>;
  for (const [name, former] of Object.entries(FORMER_UTIL)) util[name] ??= former;
  await import(/* @vite-ignore */ specifier);
}

async function createGpu(): Promise<GPU> {
  const dawn = await import('webgpu');
  Object.assign(globalThis, dawn.globals);
  const created = dawn.create(DAWN_OPTIONS) as GPU;
  // At the first request, before it returns, Dawn looks at all adapters and complains of those that are emulated in
  // software.
  if (nodeHost.noGpu?.() !== undefined) await withQuietStderr(() => created.requestAdapter());
  return created;
}

/** Node: WebGPU through Dawn, TensorFlow through its optional packages. */
export const nodeHost: Host = {
  noGpu: () => (process.platform === 'linux' && !hasGpuFile('/dev') ? 'no GPU device file' : undefined),

  async gpu() {
    try {
      gpu ??= await createGpu();
    } catch (error) {
      // An optional peer: its binaries are large, and browsers have no use for them.
      if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND')
        return { missing: 'the package webgpu is not installed (npm install webgpu)' };
      return { missing: `Dawn does not load here: ${(error as Error).message.split('\n')[0] ?? ''}` };
    }
    // tfjs looks for navigator.gpu; Node 20 has no navigator, newer versions a read-only one.
    if (globalThis.navigator === undefined)
      Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true, writable: true });
    Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
    return gpu;
  },

  async tensorflow(name) {
    const specifier = TENSORFLOW_PACKAGES[name];
    try {
      createRequire(import.meta.url).resolve(specifier);
    } catch {
      throw new Error(`${specifier} is not installed (npm install ${specifier}@4.22.0)`);
    }
    await importTensorflow(specifier);
  },

  threads: {
    /** LOWRANK_THREADS, else as many as there are cores. */
    count() {
      const wanted = process.env['LOWRANK_THREADS'];
      return wanted === undefined || wanted === ''
        ? Math.min(availableParallelism(), MOST_DEFAULT_THREADS)
        : Number(wanted);
    },

    binary: () => readFile(createRequire(import.meta.url).resolve(WASM_BINARY)),

    spawn(script, data) {
      const worker = new Worker(`(${script})(require('node:worker_threads').workerData)`, {
        eval: true,
        workerData: data,
      });
      // A thread that cannot go on leaves its work to the others.
      worker.on('error', () => undefined);
      worker.unref();
      return { terminate: async () => void (await worker.terminate()) };
    },
  },

  wasmSimd: nodeSimd,
  faster: (name) => (name === 'wasm' ? fasterSimd() : undefined),

  kernelVariant: () => process.env['LOWRANK_VARIANT'] || 'auto',

  replay: () => process.env['LOWRANK_REPLAY'] !== '0',

  /** The machine's, or a container's where that is less. */
  memory() {
    const allowed = process.constrainedMemory();
    return allowed > 0 ? Math.min(allowed, totalmem()) : totalmem();
  },

  release() {
    if (globalThis.navigator !== undefined) Reflect.deleteProperty(globalThis.navigator, 'gpu');
  },
};
