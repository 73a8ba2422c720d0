import { spawn } from 'node:child_process';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-wasm';
import { afterEach, describe, expect, it } from 'vitest';
import { swiglu } from '../../kernels/index.js';
import type { DeviceOptions, Host, ThreadHost } from '../../src/device/device.js';
import { nodeHost } from '../../src/device/node.js';
import { openWasm } from '../../src/device/wasm.js';

const THREADS = nodeHost.threads as ThreadHost;
const ONE_THREAD = 'WebAssembly SIMD on the CPU, 1 thread';

/** Opens the device, computes on it and closes it. */
async function open(host: Pick<Host, 'threads'>, options: DeviceOptions): Promise<string> {
  const device = await openWasm('asked for by name', host, options);
  const y = tf.tidy(() => swiglu(tf.ones([700, 900]), tf.ones([700, 900])));
  const values = await y.data<'float32'>();
  expect(values[0]).toBeCloseTo(0.7310586, 6);
  expect(values.every((value) => value === values[0])).toBe(true);
  y.dispose();
  expect(device.features.includes('threads')).toBe(!device.description.startsWith(ONE_THREAD));
  await device.close();
  return device.description;
}

/** Lets the next opening start the backend anew. */
function forgetBackend(): void {
  const factory = tf.findBackendFactory('wasm');
  tf.removeBackend('wasm');
  tf.registerBackend('wasm', factory, 2);
}

describe('the wasm device', () => {
  afterEach(() => {
    delete process.env['LOWRANK_THREADS'];
    delete process.env['LOWRANK_RELAXED_SIMD'];
  });

  it('falls back to one thread and says why', async () => {
    const broken: ThreadHost = { ...THREADS, binary: () => Promise.reject(new Error('no such binary\nand more')) };
    expect(await open({ threads: broken }, { threads: 2 })).toBe(`${ONE_THREAD} (no such binary)`);
    expect(await open(nodeHost, { threads: 2 })).toBe(
      `${ONE_THREAD} (tfjs had started its backend before, on memory of its own)`,
    );
    forgetBackend();
    expect(await open({}, { threads: 2 })).toBe(`${ONE_THREAD} (nothing here starts threads)`);
    forgetBackend();
    const refuse = (): never => {
      throw new Error('no more threads');
    };
    expect(await open({ threads: { ...THREADS, spawn: refuse } }, { threads: 2 })).toBe(
      `${ONE_THREAD} (no more threads)`,
    );
  });

  it('opens with threads, again and again', async () => {
    forgetBackend();
    expect(await open(nodeHost, { threads: 3 })).toBe('WebAssembly SIMD on the CPU, 3 threads');
    expect(await open(nodeHost, { threads: 2 })).toBe('WebAssembly SIMD on the CPU, 2 threads');
    expect(await open(nodeHost, { threads: 1 })).toBe(ONE_THREAD);
    expect(await open({}, {})).toBe(ONE_THREAD);
  });

  it('takes the number of threads from LOWRANK_THREADS', async () => {
    process.env['LOWRANK_THREADS'] = '4';
    expect(await open(nodeHost, {})).toBe('WebAssembly SIMD on the CPU, 4 threads');
    expect(await open(nodeHost, { threads: 2 })).toBe('WebAssembly SIMD on the CPU, 2 threads');
    process.env['LOWRANK_THREADS'] = 'many';
    await expect(open(nodeHost, {})).rejects.toThrow(/NaN is no number of threads/);
  });

  it('has relaxed SIMD on every Node, and 256 bits on Node 24 and 26, unless the environment says otherwise', async () => {
    const features = async (): Promise<readonly string[]> => {
      forgetBackend();
      const device = await openWasm('asked for by name', nodeHost, { threads: 2 });
      await device.close();
      return device.features;
    };
    const wide = /^(24|26)\./.test(process.versions.node) && process.arch === 'x64' ? ['simd-256'] : [];
    expect(await features()).toEqual(['threads', 'relaxed-simd', ...wide]);
    process.env['LOWRANK_WIDE_SIMD'] = '0';
    expect(await features()).toEqual(['threads', 'relaxed-simd']);
    process.env['LOWRANK_RELAXED_SIMD'] = '0';
    expect(await features()).toEqual(['threads']);
    // The kernels of a backend keep the binaries that they have begun with.
    delete process.env['LOWRANK_RELAXED_SIMD'];
    delete process.env['LOWRANK_WIDE_SIMD'];
    expect((await openWasm('asked for by name', nodeHost, { threads: 1 })).features).toEqual([]);
  });

  it.each([0, -1, 1.5, 1000])('refuses %d threads', async (threads) => {
    await expect(open(nodeHost, { threads })).rejects.toThrow(
      /no number of threads: it must be an integer from 1 to 256/,
    );
  });

  it('lets a process end that did not close it', async () => {
    const child = spawn(process.execPath, ['node_modules/vite-node/vite-node.mjs', 'test/support/open-threads.ts'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, LOWRANK_THREADS: '3' },
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    expect(await new Promise((done) => child.on('close', done))).toBe(0);
    expect(stdout).toContain('"description":"WebAssembly SIMD on the CPU, 3 threads","equal":true');
  });
});
